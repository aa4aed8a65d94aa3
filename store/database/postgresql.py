"""Connections to PostgreSQL that notice when it is away, also where nothing says so."""

from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

T = TypeVar("T")

CONNECT_SECONDS = 3
STATEMENT_SECONDS = 10  # then the server gives up
ANSWER_SECONDS = 12  # then it is away: later than its own limit, which leaves the connection whole
IDLE_SECONDS = 20  # then the server ends a transaction, whose process may be stopped for long

_STATEMENT = {"statement_timeout": STATEMENT_SECONDS}
_IDLE = {"idle_in_transaction_session_timeout": IDLE_SECONDS}
# A line that is cut is noticed by the kernel, in less than the two hours that it takes by default.
_LINE = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": ANSWER_SECONDS * 1000,
}


class BriskConnection(psycopg.Connection[Any]):
    """A connection that is given up if the server is silent.

    Neither the server's limits nor those of TCP help where the server's machine hangs: its kernel
    goes on to acknowledge what nobody reads.
    """

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Raises OperationalError after ANSWER_SECONDS; the connection is closed then."""
        try:
            return super().wait(gen, interval, timeout or ANSWER_SECONDS)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()
            raise


def connect(
    _dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]
) -> psycopg.Connection[Any]:
    """SQLAlchemy's `do_connect`, for what may take long, and not for a process that is stopped."""
    return psycopg.connect(*arguments, **_with_limits(options, _IDLE))


def connect_briskly(
    _dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]
) -> psycopg.Connection[Any]:
    """SQLAlchemy's `do_connect`, for all else. What the URL says goes before the limits here."""
    return BriskConnection.connect(*arguments, **_with_limits(options, _STATEMENT | _IDLE))


def _with_limits(options: dict[str, Any], limits: dict[str, int]) -> dict[str, Any]:
    settings = " ".join(f"-c {name}={seconds}s" for name, seconds in limits.items())
    return _LINE | options | {"options": f"{settings} {options.get('options', '')}"}
