"""Connections to PostgreSQL that detect a silent server."""

from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

T = TypeVar("T")

CONNECT_SECONDS = 3
STATEMENT_SECONDS = 10  # then the server cancels the statement
ANSWER_SECONDS = 12  # after the server's own limit, which leaves the connection usable
IDLE_SECONDS = 20  # then the server ends the transaction, whose process can be stopped for long

_STATEMENT = {"statement_timeout": STATEMENT_SECONDS}
_IDLE = {"idle_in_transaction_session_timeout": IDLE_SECONDS}
# With these the kernel detects a broken network connection sooner than in its default two hours.
_NETWORK = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": ANSWER_SECONDS * 1000,
}


class TimeoutConnection(psycopg.Connection[Any]):
    """A connection that closes if the server does not answer in time.

    Neither the server's limits nor TCP's help if the server process hangs: its kernel continues to
    acknowledge packets.
    """

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Raise OperationalError, and close the connection, after ANSWER_SECONDS."""
        try:
            return super().wait(gen, interval, timeout or ANSWER_SECONDS)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise


def connect(
    _dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]
) -> psycopg.Connection[Any]:
    """Connect without a statement timeout, as SQLAlchemy's `do_connect`."""
    return psycopg.connect(*arguments, **_with_limits(options, _IDLE))


def connect_with_timeouts(
    _dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]
) -> psycopg.Connection[Any]:
    """Connect with all timeouts, as SQLAlchemy's `do_connect`. The URL's options override them."""
    return TimeoutConnection.connect(*arguments, **_with_limits(options, _STATEMENT | _IDLE))


def _with_limits(options: dict[str, Any], limits: dict[str, int]) -> dict[str, Any]:
    settings = " ".join(f"-c {name}={seconds}s" for name, seconds in limits.items())
    return _NETWORK | options | {"options": f"{settings} {options.get('options', '')}"}
