"""The addresses that the service may bind to: see docs/decisions/0014."""

import ipaddress
import socket
from contextlib import closing

from sqlalchemy.exc import DBAPIError

from store.access import keys
from store.database.engine import Database
from store.settings import Settings


class UnsafeBind(Exception):
    """The address is open to other machines, and there is no key."""


def check_bind(host: str, settings: Settings) -> None:
    """Raise UnsafeBind if `host` is open to other machines and no key is found."""
    if is_loopback(host):
        return
    try:
        with closing(Database(settings.database)) as database:
            database.migrate()
            with database.read() as transaction:
                if keys.any_valid(transaction):
                    return
    except DBAPIError as error:
        raise UnsafeBind(
            f"{host} is open to other machines, and the database cannot be asked for keys: "
            f"{error.orig}"
        ) from error
    raise UnsafeBind(
        f"{host} is open to other machines, and there is no API key: make one with "
        "`dropout-service keys create`, or bind to 127.0.0.1"
    )


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at the address. Raises OSError, for instance if it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def address_of(listener: socket.socket, host: str) -> str:
    """Return a URL by which this machine reaches the listener at `host`."""
    port = listener.getsockname()[1]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the name or address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
