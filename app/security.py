"""Who may call: on loopback anybody, elsewhere whoever holds the key."""

import hmac
import ipaddress
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.errors import RequestError
from store.settings import Settings


class UnsafeBind(Exception):
    """The address is open to others, and there is no key."""


def check_bind(host: str, settings: Settings) -> None:
    """Raise UnsafeBind if anybody could call `host` without a key."""
    if settings.api_key is None and not _is_loopback(host):
        raise UnsafeBind(
            f"{host} is open to other machines: set DROPOUT_API_KEY, or bind to 127.0.0.1"
        )


_bearer = HTTPBearer(
    auto_error=False, description="Needed where the service was started with DROPOUT_API_KEY."
)


def require_key(
    request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Raise 401 unless the request carries the key, where there is one."""
    key = request.app.state.context.settings.api_key
    if key is None:
        return
    credentials = given.credentials if given else ""
    if not hmac.compare_digest(credentials.encode(), key.get_secret_value().encode()):
        raise RequestError(401, "unauthorized", "send the API key as `Authorization: Bearer <key>`")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
