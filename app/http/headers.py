"""Security headers: a browser guesses no media type, shows no frame and loads nothing else."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "Content-Security-Policy"

Headers = list[tuple[bytes, bytes]]

_EVERYWHERE = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]
# A page has a policy of its own: see app/http/docs.py.
_POLICY = POLICY.lower().encode()
_NOTHING = b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_CACHING = b"cache-control"
_PRIVATE = ("/v1/", "/v2/")


def secured(headers: Headers, *, is_private: bool = False) -> Headers:
    """Return the headers, in lower case, with the security headers added.

    A policy or a Cache-Control that they have stays; without one, private answers are not cached.
    """
    names = {name for name, _ in headers}
    added = list(_EVERYWHERE)
    if _POLICY not in names:
        added.append((_POLICY, _NOTHING))
    if is_private and _CACHING not in names:
        added.append((_CACHING, b"no-store"))
    return [*headers, *added]


class SecurityHeaders:
    """Add the headers to every answer, and keep answers about data out of caches.

    There are no CORS headers: pages of other origins may not call this service.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        is_private = scope["path"].startswith(_PRIVATE)

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = secured(message["headers"], is_private=is_private)
            await send(message)

        return await self._app(scope, receive, send_secured)
