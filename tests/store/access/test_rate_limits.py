"""A bucket that all processes draw from: never more than it holds and what has flowed in since."""

import pytest
from sqlalchemy import Connection, select, update

from store.access import rate_limits
from store.database.engine import Database
from store.database.tables import request_rates
from tests.support.concurrency import at_once, transaction

MINE = "mine"
SLOW = 1e-3  # tokens a second: none flows in while a test runs


def draw(
    connection: Connection, num_tokens: int = 1, *, per_second: float = SLOW, burst: int = 5
) -> float:
    return rate_limits.draw(
        connection, tenant=MINE, num_tokens=num_tokens, per_second=per_second, burst=burst
    )


def let_pass(connection: Connection, seconds: float) -> None:
    connection.execute(update(request_rates).values(full_at=request_rates.c.full_at - seconds))


def test_a_full_bucket_holds_its_burst(connection: Connection) -> None:
    assert [draw(connection) for _ in range(5)] == [0.0] * 5
    assert draw(connection) > 0


def test_several_tokens_are_taken_together_or_not_at_all(connection: Connection) -> None:
    assert draw(connection, 3) == 0.0
    assert draw(connection, 3) > 0
    assert draw(connection, 2) == 0.0
    assert draw(connection) > 0


def test_what_flows_in_can_be_drawn_and_no_more(connection: Connection) -> None:
    draw(connection, 5)
    let_pass(connection, 2 / SLOW)
    assert [draw(connection) for _ in range(2)] == [0.0] * 2
    assert draw(connection) > 0


def test_a_bucket_never_holds_more_than_its_burst(connection: Connection) -> None:
    draw(connection)
    let_pass(connection, 1000 / SLOW)
    assert [draw(connection) for _ in range(5)] == [0.0] * 5
    assert draw(connection) > 0


def test_a_clock_that_is_set_back_fills_the_bucket(connection: Connection) -> None:
    draw(connection, 5)
    let_pass(connection, -10 / SLOW)
    assert [draw(connection) for _ in range(5)] == [0.0] * 5
    assert draw(connection) > 0


def test_the_wait_is_as_long_as_it_takes(connection: Connection) -> None:
    draw(connection, 5)
    wait_seconds = draw(connection)
    assert wait_seconds == pytest.approx(1 / SLOW, rel=0.01)
    let_pass(connection, wait_seconds)
    assert draw(connection) == 0.0


def test_tenants_have_buckets_of_their_own(connection: Connection) -> None:
    draw(connection, 5)
    options = {"num_tokens": 5, "per_second": SLOW, "burst": 5}
    assert rate_limits.draw(connection, tenant="other", **options) == 0.0
    tenants = connection.execute(select(request_rates.c.tenant)).scalars().all()
    assert sorted(tenants) == [MINE, "other"]


def test_of_draws_at_once_no_more_succeed_than_there_are_tokens(database: Database) -> None:
    waits = at_once(*[transaction(database, draw) for _ in range(12)])
    assert waits.count(0.0) == 5
