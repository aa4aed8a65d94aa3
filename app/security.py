"""Who may call: on loopback anybody, elsewhere whoever holds the key."""

import hmac
import ipaddress

from fastapi import Request

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


def require_key(request: Request) -> None:
    """Raise 401 unless the request carries the key, where there is one."""
    key = request.app.state.context.settings.api_key
    if key is None:
        return
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    matches = hmac.compare_digest(given.strip().encode(), key.get_secret_value().encode())
    if scheme.lower() != "bearer" or not matches:
        raise RequestError(401, "unauthorized", "send the API key as `Authorization: Bearer <key>`")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
