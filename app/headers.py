"""What every answer tells a browser: to take it for what it is, and to load nothing for it."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "Content-Security-Policy"

_EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
# An answer that is a page brings a policy of its own: see app/docs.py.
_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_PRIVATE = ("/v1/", "/v2/")


def secure(headers: MutableHeaders) -> None:
    """Add the headers; a policy that is there stands."""
    headers.update(_EVERYWHERE)
    headers.setdefault(POLICY, _NOTHING)


class SecurityHeaders:
    """Add the headers to every answer, and to those about data that no cache may keep them.

    What an answer says itself of its policy and of caches stands. There are no CORS headers: a
    page of another origin has no business here.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        is_private = scope["path"].startswith(_PRIVATE)

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                secure(headers)
                if is_private:
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        return await self._app(scope, receive, send_secured)
