from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import Connection, event, update

from store.access import idempotency
from store.access.idempotency import IN_FLIGHT_SECONDS, KEPT_SECONDS, Answer
from store.access.keys import DEFAULT_TENANT
from store.database.engine import Database
from store.database.tables import database_now, idempotency_keys
from store.errors import IdempotencyKeyReused, RequestInFlight
from tests.support.concurrency import at_once, transaction

ANSWER = Answer(202, {"Location": "/v1/jobs/job_1"}, {"id": "job_1", "state": "queued"})


def reserve(connection: Connection, *, key: str = "key", request: str = "first") -> Answer | None:
    return idempotency.reserve(connection, key, request_sha256=request, tenant=DEFAULT_TENANT)


def grow_older(connection: Connection, seconds: float) -> None:
    created_at = database_now() - seconds
    connection.execute(update(idempotency_keys).values(created_at=created_at))


def test_the_first_request_takes_the_key(connection: Connection) -> None:
    assert reserve(connection) is None


def test_keys_are_apart(connection: Connection) -> None:
    assert reserve(connection) is None
    assert reserve(connection, key="another") is None


def test_a_repeated_request_gets_the_first_answer(connection: Connection) -> None:
    reserve(connection)
    idempotency.complete(connection, "key", ANSWER)
    for _ in range(2):
        assert reserve(connection) == ANSWER


def test_a_request_without_an_answer_yet_is_in_flight(connection: Connection) -> None:
    reserve(connection)
    with pytest.raises(RequestInFlight):
        reserve(connection)


@pytest.mark.parametrize("is_answered", [False, True])
def test_a_key_belongs_to_one_request(connection: Connection, is_answered: bool) -> None:
    reserve(connection)
    if is_answered:
        idempotency.complete(connection, "key", ANSWER)
    with pytest.raises(IdempotencyKeyReused):
        reserve(connection, request="second")


def test_the_key_of_a_failed_request_is_free_again(connection: Connection) -> None:
    reserve(connection)
    idempotency.release(connection, "key")
    assert reserve(connection, request="second") is None


def test_an_answer_is_not_released(connection: Connection) -> None:
    reserve(connection)
    idempotency.complete(connection, "key", ANSWER)
    idempotency.release(connection, "key")
    assert reserve(connection) == ANSWER


def test_a_request_in_flight_for_long_was_abandoned(connection: Connection) -> None:
    reserve(connection)
    grow_older(connection, IN_FLIGHT_SECONDS - 5)
    with pytest.raises(RequestInFlight):
        reserve(connection)
    grow_older(connection, IN_FLIGHT_SECONDS + 60)
    assert reserve(connection) is None


def test_a_request_that_is_renewed_holds_its_key(connection: Connection) -> None:
    reserve(connection)
    since = idempotency.held_since(connection, "key")
    for _ in range(3):
        grow_older(connection, IN_FLIGHT_SECONDS - 5)
        renewed = idempotency.renew(connection, "key", since=since)
        assert renewed is not None
        with pytest.raises(RequestInFlight):
            reserve(connection)
        since = renewed
    idempotency.complete(connection, "key", ANSWER, since=since)
    assert reserve(connection) == ANSWER


def test_a_renewal_that_was_committed_and_not_yet_noted_counts(connection: Connection) -> None:
    reserve(connection)
    since = idempotency.held_since(connection, "key") - IN_FLIGHT_SECONDS + 5
    idempotency.complete(connection, "key", ANSWER, since=since)


def test_who_was_stopped_for_long_has_lost_the_key(connection: Connection) -> None:
    reserve(connection)
    grow_older(connection, IN_FLIGHT_SECONDS + 60)
    since = idempotency.held_since(connection, "key")
    assert reserve(connection) is None  # by another
    assert idempotency.renew(connection, "key", since=since) is None
    idempotency.release(connection, "key", since=since)
    with pytest.raises(RequestInFlight):
        idempotency.complete(connection, "key", ANSWER, since=since)
    idempotency.complete(connection, "key", ANSWER)  # the other's
    assert reserve(connection) == ANSWER


def test_an_answer_is_kept_for_a_day(connection: Connection) -> None:
    reserve(connection)
    idempotency.complete(connection, "key", ANSWER)
    grow_older(connection, KEPT_SECONDS - 60)
    assert reserve(connection) == ANSWER
    grow_older(connection, KEPT_SECONDS + 60)
    assert reserve(connection) is None


def test_of_many_requests_exactly_one_takes_the_key(database: Database) -> None:
    results = at_once(*[transaction(database, reserve) for _ in range(12)])
    assert results.count(None) == 1
    assert [type(result) for result in results].count(RequestInFlight) == 11


def test_of_many_requests_exactly_one_takes_over_an_abandoned_key(database: Database) -> None:
    with database.write() as connection:
        reserve(connection)
        grow_older(connection, IN_FLIGHT_SECONDS + 60)
    results = at_once(*[transaction(database, reserve) for _ in range(12)])
    assert results.count(None) == 1
    assert [type(result) for result in results].count(RequestInFlight) == 11


def test_a_key_released_while_it_is_asked_for_counts_as_in_flight(postgresql_url: str) -> None:
    with closing(Database(postgresql_url)) as database:
        transaction(database, reserve)()
        release = transaction(database, idempotency.release, "key")

        def reserve_late(connection: Connection) -> None:
            @event.listens_for(connection, "after_cursor_execute")
            def _release(_connection: Any, _cursor: Any, statement: str, *_arguments: Any) -> None:
                if statement.startswith("INSERT"):
                    release()

            reserve(connection)

        with pytest.raises(RequestInFlight):
            transaction(database, reserve_late)()
        assert transaction(database, reserve)() is None
