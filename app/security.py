"""Who may call: on loopback anybody, elsewhere whoever holds the key."""

import hmac
import ipaddress

from fastapi.security import HTTPBearer
from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import problem
from store.settings import Settings


class UnsafeBind(Exception):
    """The address is open to others, and there is no key."""


def check_bind(host: str, settings: Settings) -> None:
    """Raise UnsafeBind if anybody could call `host` without a key."""
    if settings.api_key is None and not _is_loopback(host):
        raise UnsafeBind(
            f"{host} is open to other machines: set DROPOUT_API_KEY, or bind to 127.0.0.1"
        )


documented_key = HTTPBearer(
    auto_error=False, description="Needed where the service was started with DROPOUT_API_KEY."
)
"""For the API page: KeyGuard does the work."""


class KeyGuard:
    """Answer 401 to a call below `prefixes` without the key, before its body is read."""

    def __init__(self, app: ASGIApp, *, prefixes: tuple[str, ...], key: SecretStr) -> None:
        self._app = app
        self._prefixes = prefixes
        self._key = key.get_secret_value().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(self._prefixes):
            return await self._app(scope, receive, send)
        scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), self._key):
            return await self._app(scope, receive, send)
        detail = "send the API key as `Authorization: Bearer <key>`"
        headers = {"WWW-Authenticate": "Bearer"}
        answer = problem(401, "unauthorized", detail, headers=headers)
        return await answer(scope, receive, send)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
