"""The ownership protocol, a transition at a time."""

from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, event, select, update

from store import events, jobs, models
from store.access.keys import DEFAULT_TENANT
from store.database.engine import Database
from store.database.tables import database_now
from store.database.tables import jobs as jobs_table
from store.errors import IllegalTransition, JobNotFound, LeaseLost
from store.jobs import Asked, Claim, Job
from tests.support.concurrency import at_once, is_waiting, transaction
from tests.support.store_examples import (
    GONE,
    TRAINED,
    cancel_job,
    claim,
    claim_again,
    epoch,
    get_job,
    new_claim,
    new_job,
    new_stale_claim,
    remove_job,
    spec,
)
from tests.support.waiting import wait_until


def renew(connection: Connection, claim: Claim) -> Asked:
    return jobs.renew(connection, claim, lease_seconds=60)


def record(connection: Connection, claim: Claim) -> None:
    jobs.record(connection, claim, epoch(1))


def succeed(connection: Connection, claim: Claim) -> Job:
    return jobs.succeed(connection, claim, reason="completed", trained=TRAINED)


def fail(connection: Connection, claim: Claim) -> Job:
    return jobs.fail(connection, claim, reason="diverged", detail="the loss became nan")


def retry(
    connection: Connection, claim: Claim, *, max_attempts: int = 3, backoff_seconds: float = 1
) -> Job:
    return jobs.retry(
        connection,
        claim,
        reason="worker_lost",
        detail="the trainer died",
        max_attempts=max_attempts,
        backoff_seconds=backoff_seconds,
    )


def reap(connection: Connection, *, max_attempts: int = 3) -> list[Job]:
    return jobs.reap(connection, lease_seconds=60, max_attempts=max_attempts, backoff_seconds=1)


Write = Callable[[Connection, Claim], Any]
ENDS: list[Write] = [succeed, fail]
HANDOVERS: list[Write] = [jobs.release, retry]


def warn(connection: Connection, claim: Claim) -> None:
    jobs.warn(connection, claim, ["no training row has the class 'C'"])


WRITES: list[Write] = [renew, record, warn, jobs.progressed, jobs.cancelled, *ENDS, *HANDOVERS]


def event_types(connection: Connection, job_id: str) -> list[str]:
    page = events.page(connection, job_id, after=0, limit=1000)
    assert [event.sequence for event in page] == list(range(1, len(page) + 1))
    return [event.type for event in page]


def everything(connection: Connection, job_id: str) -> tuple[Any, ...]:
    """All that is stored of a job."""
    return (
        get_job(connection, job_id),
        jobs.metrics(connection, job_id, after_epoch=0),
        events.page(connection, job_id, after=0, limit=1000),
        models.of_jobs(connection, [job_id]),
    )


def seconds_to_wait(connection: Connection, job: Job) -> float:
    return job.run_after - connection.execute(select(database_now())).scalar_one()


def claim_all(url: str) -> list[str]:
    """What a worker in a process of its own does while there is work."""
    database = Database(url)
    claimed = []
    while True:
        with database.read() as connection:
            due = jobs.claimable(connection, limit=5)
        if not due:
            break
        for job_id in due:
            with database.write() as connection:
                if claim(connection, job_id) is not None:
                    claimed.append(job_id)
    database.close()
    return claimed


# Creation


def test_a_new_job_is_queued_with_its_first_event(connection: Connection) -> None:
    wish = spec(metadata={"team": "vision"})
    job = jobs.create(
        connection, wish, queue="gpu", warnings=["left out: 'id'"], tenant=DEFAULT_TENANT
    )
    assert job.warnings == ["left out: 'id'"]
    assert (job.state, job.attempt, job.queue, job.dataset_id) == ("queued", 0, "gpu", "ds_1")
    assert job.spec["metadata"] == {"team": "vision"}
    assert get_job(connection, job.id) == job
    assert event_types(connection, job.id) == ["queued"]


def test_a_job_that_was_not_committed_never_was(database: Database) -> None:
    with database.write() as connection:
        job = new_job(connection)
        connection.rollback()
    with database.read() as connection:
        assert jobs.claimable(connection, limit=9) == []
        assert events.page(connection, job.id, after=0, limit=9) == []


def test_an_unknown_job_is_not_found(connection: Connection) -> None:
    for ask in (get_job, cancel_job, remove_job):
        with pytest.raises(JobNotFound):
            ask(connection, "job_unknown")


def test_a_page_is_newest_first_and_goes_on_after_an_id(connection: Connection) -> None:
    ids = sorted((new_job(connection).id for _ in range(5)), reverse=True)
    first = [job.id for job in jobs.page(connection, limit=3, after=None, tenant=DEFAULT_TENANT)]
    rest = [
        job.id for job in jobs.page(connection, limit=3, after=first[-1], tenant=DEFAULT_TENANT)
    ]
    assert first + rest == ids


def test_a_page_may_be_of_one_state(connection: Connection) -> None:
    running = new_claim(connection).job_id
    queued = new_job(connection).id
    for state, ids in [("running", [running]), ("queued", [queued]), ("failed", [])]:
        page = jobs.page(connection, limit=9, after=None, state=state, tenant=DEFAULT_TENANT)
        assert [job.id for job in page] == ids


# Claim


def test_a_claim_starts_the_next_attempt(connection: Connection) -> None:
    job = claim(connection, new_job(connection).id, owner="host:1", num_threads=4)
    assert job is not None
    assert (job.state, job.attempt, job.owner, job.num_threads) == ("running", 1, "host:1", 4)
    assert job.started_at is not None
    assert job.lease_expires_at == pytest.approx(job.started_at + 60, abs=1)
    assert event_types(connection, job.id) == ["queued", "running"]


def test_a_job_with_a_valid_lease_cannot_be_claimed(connection: Connection) -> None:
    mine = new_claim(connection)
    before = everything(connection, mine.job_id)
    assert claim(connection, mine.job_id) is None
    assert everything(connection, mine.job_id) == before


def test_claiming_an_unknown_job_yields_nothing(connection: Connection) -> None:
    assert claim(connection, "job_unknown") is None


def test_a_job_that_waits_to_be_tried_again_cannot_be_claimed(connection: Connection) -> None:
    job = retry(connection, new_claim(connection), backoff_seconds=60)
    assert claim(connection, job.id) is None
    assert job.id not in jobs.claimable(connection, limit=9)


@pytest.mark.parametrize("end", [*ENDS, "cancel"])
def test_a_job_that_is_over_cannot_be_claimed(connection: Connection, end: Any) -> None:
    mine = new_claim(connection, lease_seconds=GONE)
    if end == "cancel":
        cancel_job(connection, mine.job_id)
        reap(connection)
    else:
        end(connection, mine)
    assert claim(connection, mine.job_id) is None


def test_an_expired_lease_is_up_for_a_claim_and_counts_as_a_failure(connection: Connection) -> None:
    mine = new_claim(connection, lease_seconds=GONE)
    job = claim(connection, mine.job_id, owner="other")
    assert job is not None
    assert (job.attempt, job.failures, job.owner) == (2, 1, "other")


def test_an_expired_lease_cannot_be_claimed_without_attempts_left(connection: Connection) -> None:
    mine = new_claim(connection, lease_seconds=GONE)
    assert claim(connection, mine.job_id, max_attempts=1) is None


def test_a_job_asked_to_stop_cannot_be_claimed_once_its_lease_is_over(
    connection: Connection,
) -> None:
    mine = new_claim(connection, lease_seconds=GONE)
    cancel_job(connection, mine.job_id)
    assert claim(connection, mine.job_id) is None


def test_later_attempts_keep_the_threads_and_the_start_of_the_first(connection: Connection) -> None:
    first = claim(connection, new_job(connection).id, lease_seconds=GONE, num_threads=3)
    assert first is not None
    second = claim(connection, first.id, num_threads=8)
    assert second is not None
    assert (second.num_threads, second.started_at) == (3, first.started_at)


def test_of_many_threads_exactly_one_claims_a_job(database: Database) -> None:
    with database.write() as connection:
        job = new_job(connection)
    results = at_once(*[transaction(database, claim, job.id, owner=str(n)) for n in range(12)])
    winners = [result for result in results if result is not None]
    assert len(winners) == 1
    with database.read() as connection:
        assert get_job(connection, job.id) == winners[0]
        assert event_types(connection, job.id) == ["queued", "running"]


def test_of_many_threads_exactly_one_claims_an_expired_lease(database: Database) -> None:
    with database.write() as connection:
        stale = new_claim(connection, lease_seconds=GONE)
    results = at_once(*[transaction(database, claim, stale.job_id) for _ in range(12)])
    assert [result.attempt for result in results if result is not None] == [2]


def test_processes_share_the_jobs_without_claiming_one_twice(
    database: Database, database_url: str, processes: ProcessPoolExecutor
) -> None:
    with database.write() as connection:
        ids = [new_job(connection).id for _ in range(60)]
    claimed = [job_id for part in processes.map(claim_all, [database_url] * 3) for job_id in part]
    assert sorted(claimed) == sorted(ids)


# The fencing token


@pytest.mark.parametrize("write", WRITES)
def test_a_stale_attempt_writes_nothing(connection: Connection, write: Write) -> None:
    stale = new_stale_claim(connection)
    before = everything(connection, stale.job_id)
    with pytest.raises(LeaseLost):
        write(connection, stale)
    assert everything(connection, stale.job_id) == before


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("give_up", [*ENDS, *HANDOVERS])
def test_an_attempt_writes_nothing_after_it_gave_the_job_up(
    connection: Connection, give_up: Write, write: Write
) -> None:
    mine = new_claim(connection)
    give_up(connection, mine)
    before = everything(connection, mine.job_id)
    with pytest.raises(LeaseLost):
        write(connection, mine)
    assert everything(connection, mine.job_id) == before


@pytest.mark.parametrize("write", WRITES)
def test_an_attempt_of_a_deleted_job_writes_nothing(connection: Connection, write: Write) -> None:
    mine = new_claim(connection)
    fail(connection, mine)
    remove_job(connection, mine.job_id)
    with pytest.raises(LeaseLost):
        write(connection, mine)


def test_of_an_owner_and_its_successor_only_one_ends_the_job(database: Database) -> None:
    for _ in range(10):
        with database.write() as connection:
            mine = new_claim(connection, lease_seconds=GONE)
        ended, taken = at_once(
            transaction(database, succeed, mine), transaction(database, claim, mine.job_id)
        )
        if taken is None:
            assert ended.state == "succeeded"
        else:
            assert isinstance(ended, LeaseLost)


# Renew


def test_renewing_extends_the_lease_and_tells_no_event(connection: Connection) -> None:
    mine = new_claim(connection, lease_seconds=1)
    jobs.renew(connection, mine, lease_seconds=600)
    job = get_job(connection, mine.job_id)
    assert job.lease_expires_at is not None
    assert job.started_at is not None
    assert job.lease_expires_at == pytest.approx(job.started_at + 600, abs=5)
    assert event_types(connection, mine.job_id) == ["queued", "running"]


def test_an_expired_lease_that_nobody_took_can_be_renewed(connection: Connection) -> None:
    mine = new_claim(connection, lease_seconds=GONE)
    renew(connection, mine)
    assert reap(connection) == []
    assert claim(connection, mine.job_id) is None


def test_renewing_tells_that_the_job_is_to_stop(connection: Connection) -> None:
    mine = new_claim(connection)
    assert renew(connection, mine).state == "running"
    cancel_job(connection, mine.job_id)
    assert renew(connection, mine).state == "cancelling"


# Record


def test_epochs_are_recorded_in_order_each_with_its_event(connection: Connection) -> None:
    mine = new_claim(connection)
    for number in (1, 2, 3):
        jobs.record(connection, mine, epoch(number))
    rows = jobs.metrics(connection, mine.job_id, after_epoch=1)
    assert [(row["epoch"], row["train_loss"]) for row in rows] == [(2, 1 / 2), (3, 1 / 3)]
    assert get_job(connection, mine.job_id).epochs_completed == 3
    last = events.page(connection, mine.job_id, after=4, limit=9)
    assert [event.data for event in last] == [{"attempt": 1, **epoch(3)}]


@pytest.mark.parametrize("number", [1, 2, 4])
def test_an_epoch_out_of_order_is_left_out(connection: Connection, number: int) -> None:
    mine = new_claim(connection)
    for known in (1, 2):
        jobs.record(connection, mine, epoch(known))
    before = everything(connection, mine.job_id)
    jobs.record(connection, mine, epoch(number))
    assert everything(connection, mine.job_id) == before


def test_a_later_attempt_goes_on_counting_epochs(connection: Connection) -> None:
    mine = new_claim(connection)
    jobs.record(connection, mine, epoch(1))
    jobs.release(connection, mine)
    second = claim_again(connection, mine.job_id)
    for number in (1, 2):
        jobs.record(connection, second, epoch(number))
    rows = jobs.metrics(connection, mine.job_id, after_epoch=0)
    assert [row["epoch"] for row in rows] == [1, 2]


def test_a_new_epoch_forgives_earlier_failures(connection: Connection) -> None:
    mine = new_claim(connection)
    assert retry(connection, mine).failures == 1
    second = claim_again(connection, mine.job_id)
    jobs.record(connection, second, epoch(1))
    assert get_job(connection, mine.job_id).failures == 0


def test_progress_without_an_epoch_forgives_as_well_and_tells_no_event(
    connection: Connection,
) -> None:
    mine = new_claim(connection)
    retry(connection, mine)
    second = claim_again(connection, mine.job_id)
    before = event_types(connection, mine.job_id)
    jobs.progressed(connection, second)
    assert get_job(connection, mine.job_id).failures == 0
    assert event_types(connection, mine.job_id) == before


def test_a_warning_is_added_once_whatever_attempt_finds_it(connection: Connection) -> None:
    mine = new_claim(connection)
    jobs.warn(connection, mine, ["b", "a"])
    jobs.release(connection, mine)
    jobs.warn(connection, claim_again(connection, mine.job_id), ["a", "c"])
    assert get_job(connection, mine.job_id).warnings == ["b", "a", "c"]
    page = events.page(connection, mine.job_id, after=0, limit=99)
    told = [event.data["warnings"] for event in page if event.type == "warning"]
    assert told == [["b", "a"], ["c"]]


def test_a_warning_is_of_its_own_job(connection: Connection) -> None:
    other, mine = new_claim(connection), new_claim(connection)
    jobs.warn(connection, other, ["a"])
    jobs.warn(connection, mine, ["a"])
    assert get_job(connection, other.job_id).warnings == ["a"]
    assert get_job(connection, mine.job_id).warnings == ["a"]


def test_a_job_that_is_asked_to_pause_does_when_it_is_handed_back(connection: Connection) -> None:
    mine = new_claim(connection)
    pause = partial(jobs.pause, connection, mine.job_id, tenant=DEFAULT_TENANT)
    resume = partial(jobs.resume, connection, mine.job_id, tenant=DEFAULT_TENANT)
    assert (pause().state, pause().pause_requested) == ("running", True)
    assert not resume().pause_requested
    pause()
    paused = jobs.release(connection, mine)
    assert (paused.state, paused.state_reason, paused.owner) == ("paused", "user", None)
    assert jobs.claimable(connection, limit=9) == []
    assert (resume().state, resume().state) == ("queued", "queued")
    assert claim_again(connection, mine.job_id).attempt == 2


def test_a_lost_job_that_is_asked_to_pause_is_not_run_again(connection: Connection) -> None:
    mine = new_claim(connection, lease_seconds=GONE)
    jobs.pause(connection, mine.job_id, tenant=DEFAULT_TENANT)
    (reaped,) = jobs.reap(connection, lease_seconds=60, max_attempts=3, backoff_seconds=1)
    assert (reaped.state, reaped.failures) == ("paused", 1)


def test_an_epoch_after_a_cancel_is_left_out(connection: Connection) -> None:
    mine = new_claim(connection)
    cancel_job(connection, mine.job_id)
    before = everything(connection, mine.job_id)
    jobs.record(connection, mine, epoch(1))
    assert everything(connection, mine.job_id) == before


# Ends


def test_success_comes_with_the_model(connection: Connection) -> None:
    mine = new_claim(connection)
    job = succeed(connection, mine)
    assert (job.state, job.state_reason) == ("succeeded", "completed")
    assert (job.owner, job.lease_expires_at) == (None, None)
    assert job.finished_at is not None
    model = models.get(
        connection, models.of_jobs(connection, [job.id])[job.id], tenant=DEFAULT_TENANT
    )
    assert (model.name, model.metrics) == ("first", TRAINED.metrics)
    assert event_types(connection, job.id) == ["queued", "running", "succeeded"]


def test_failure_says_why_and_leaves_no_model(connection: Connection) -> None:
    job = fail(connection, new_claim(connection))
    assert (job.state, job.state_reason) == ("failed", "diverged")
    assert job.detail == "the loss became nan"
    assert models.of_jobs(connection, [job.id]) == {}
    last = events.page(connection, job.id, after=2, limit=9)
    facts = {"attempt": 1, "reason": "diverged", "detail": "the loss became nan"}
    assert [(event.type, event.data) for event in last] == [("failed", facts)]


def test_a_failure_may_quote_any_text(connection: Connection) -> None:
    job = jobs.fail(connection, new_claim(connection), reason="invalid_data", detail="a\0b\ud800")
    assert (job.state, job.detail) == ("failed", "a\N{REPLACEMENT CHARACTER}b?")


@pytest.mark.parametrize("end", ENDS)
def test_an_expired_lease_that_nobody_took_can_still_end_the_job(
    connection: Connection, end: Write
) -> None:
    job = end(connection, new_claim(connection, lease_seconds=GONE))
    assert job.state in jobs.TERMINAL


# Cancel


def test_a_queued_job_is_cancelled_at_once(connection: Connection) -> None:
    job = cancel_job(connection, new_job(connection).id)
    assert (job.state, job.state_reason) == ("cancelled", "cancelled_by_user")
    assert job.finished_at is not None
    assert event_types(connection, job.id) == ["queued", "cancelled"]


def test_a_running_job_is_asked_to_stop(connection: Connection) -> None:
    mine = new_claim(connection)
    assert cancel_job(connection, mine.job_id).state == "cancelling"
    assert jobs.cancelled(connection, mine).state == "cancelled"
    types = event_types(connection, mine.job_id)
    assert types == ["queued", "running", "cancelling", "cancelled"]


def test_cancelling_again_changes_nothing(connection: Connection) -> None:
    mine = new_claim(connection)
    for _ in range(2):
        cancel_job(connection, mine.job_id)
        before = everything(connection, mine.job_id)
        assert cancel_job(connection, mine.job_id) == before[0]
        assert everything(connection, mine.job_id) == before
        if before[0].state == "cancelling":
            jobs.cancelled(connection, mine)


@pytest.mark.parametrize("end", ENDS)
def test_a_job_that_ended_otherwise_cannot_be_cancelled(connection: Connection, end: Write) -> None:
    mine = new_claim(connection)
    end(connection, mine)
    before = everything(connection, mine.job_id)
    with pytest.raises(IllegalTransition):
        cancel_job(connection, mine.job_id)
    assert everything(connection, mine.job_id) == before


@pytest.mark.parametrize("give_up", [*ENDS, *HANDOVERS])
def test_an_acknowledged_cancel_ends_cancelled_whatever_the_worker_says(
    connection: Connection, give_up: Write
) -> None:
    mine = new_claim(connection)
    cancel_job(connection, mine.job_id)
    job = give_up(connection, mine)
    assert (job.state, job.state_reason, job.detail) == ("cancelled", "cancelled_by_user", None)
    assert models.of_jobs(connection, [job.id]) == {}


def test_a_cancelled_job_keeps_the_model_that_it_was_asked_to_keep(
    connection: Connection,
) -> None:
    mine = new_claim(connection)
    record(connection, mine)
    assert cancel_job(connection, mine.job_id, keep_model=True).state == "cancelling"
    assert cancel_job(connection, mine.job_id).keep_model  # a second call changes nothing
    jobs.record(connection, mine, epoch(2))  # the model has learnt from it
    job = succeed(connection, mine)
    assert (job.state, job.state_reason) == ("cancelled", "cancelled_by_user")
    assert (job.epochs_completed, len(models.of_jobs(connection, [job.id]))) == (2, 1)
    types = ["queued", "running", "epoch", "cancelling", "epoch", "cancelled"]
    assert event_types(connection, job.id) == types
    with pytest.raises(LeaseLost):
        succeed(connection, mine)


@pytest.mark.parametrize("give_up", [fail, *HANDOVERS, jobs.cancelled])
def test_a_cancelled_job_without_a_model_ends_all_the_same(
    connection: Connection, give_up: Write
) -> None:
    mine = new_claim(connection)
    cancel_job(connection, mine.job_id, keep_model=True)
    assert give_up(connection, mine).state == "cancelled"
    lost = new_claim(connection, lease_seconds=GONE)
    cancel_job(connection, lost.job_id, keep_model=True)
    assert [job.state for job in reap(connection)] == ["cancelled"]
    waiting = cancel_job(connection, new_job(connection).id, keep_model=True)
    assert waiting.state == "cancelled"
    assert models.of_jobs(connection, [mine.job_id, lost.job_id, waiting.id]) == {}


def test_a_job_nobody_asked_to_stop_cannot_be_reported_cancelled(connection: Connection) -> None:
    mine = new_claim(connection)
    with pytest.raises(LeaseLost):
        jobs.cancelled(connection, mine)
    assert get_job(connection, mine.job_id).state == "running"


@pytest.mark.parametrize("end", ENDS)
def test_a_cancel_racing_with_the_end_has_exactly_one_outcome(
    database: Database, end: Write
) -> None:
    for _ in range(10):
        with database.write() as connection:
            mine = new_claim(connection)
        asked, ended = at_once(
            transaction(database, cancel_job, mine.job_id), transaction(database, end, mine)
        )
        with database.read() as connection:
            job = get_job(connection, mine.job_id)
            assert job == ended
            assert len(models.of_jobs(connection, [job.id])) == (job.state == "succeeded")
        assert (job.state == "cancelled") is not isinstance(asked, IllegalTransition)


def test_a_cancel_racing_with_a_claim_is_never_lost(database: Database) -> None:
    for _ in range(10):
        with database.write() as connection:
            job_id = new_job(connection).id
        asked, taken = at_once(
            transaction(database, cancel_job, job_id), transaction(database, claim, job_id)
        )
        assert asked.state == ("cancelled" if taken is None else "cancelling")


def test_a_cancel_is_not_lost_while_the_job_changes_hands(postgresql_url: str) -> None:
    with closing(Database(postgresql_url)) as database, ThreadPoolExecutor(1) as pool:
        with database.write() as connection:
            mine = new_claim(connection)
        releases: list[Future[Job]] = []
        with database.write() as connection:

            @event.listens_for(connection, "after_cursor_execute")
            def _release(_connection: Any, _cursor: Any, statement: str, *_arguments: Any) -> None:
                if statement.startswith("UPDATE") and not releases:
                    releases.append(pool.submit(transaction(database, jobs.release, mine)))
                    wait_until(lambda: releases[0].done() or is_waiting(database))

            asked = cancel_job(connection, mine.job_id)
        assert asked.state in ("cancelling", "cancelled")
        assert releases[0].result().state in ("queued", "cancelled")
        with database.read() as connection:
            assert get_job(connection, mine.job_id).state == "cancelled"


# Handing back


def test_a_released_job_is_queued_again_uncharged(connection: Connection) -> None:
    mine = new_claim(connection)
    job = jobs.release(connection, mine)
    assert (job.state, job.failures, job.owner, job.dispatched_at) == ("queued", 0, None, None)
    assert jobs.claimable(connection, limit=9) == [job.id]
    assert claim_again(connection, job.id).attempt == 2
    assert event_types(connection, job.id) == ["queued", "running", "requeued", "running"]


def test_releasing_never_uses_the_attempts_up(connection: Connection) -> None:
    mine = new_claim(connection)
    for attempt in range(2, 10):
        jobs.release(connection, mine)
        mine = claim_again(connection, mine.job_id)
        assert mine.attempt == attempt
    assert get_job(connection, mine.job_id).failures == 0


def test_retries_wait_twice_as_long_each_time_up_to_a_minute(connection: Connection) -> None:
    mine = new_claim(connection)
    waits = []
    for _ in range(8):
        job = retry(connection, mine, max_attempts=100)
        waits.append(seconds_to_wait(connection, job))
        mine = claim_again(connection, job.id)
    assert waits == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60], abs=0.9)


def test_a_retry_is_charged_and_says_why(connection: Connection) -> None:
    job = retry(connection, new_claim(connection))
    assert (job.state, job.failures, job.owner, job.dispatched_at) == ("queued", 1, None, None)
    last = events.page(connection, job.id, after=2, limit=9)
    facts = {"attempt": 1, "detail": "the trainer died"}
    assert [(event.type, event.data) for event in last] == [("requeued", facts)]


def test_the_last_retry_fails_the_job(connection: Connection) -> None:
    mine = new_claim(connection)
    retry(connection, mine, max_attempts=2)
    job = retry(connection, claim_again(connection, mine.job_id), max_attempts=2)
    assert (job.state, job.state_reason) == ("failed", "worker_lost")
    assert job.detail == "the trainer died"


# Reap


def test_reaping_leaves_valid_leases_alone(connection: Connection) -> None:
    new_job(connection)
    mine = new_claim(connection)
    before = everything(connection, mine.job_id)
    assert reap(connection) == []
    assert everything(connection, mine.job_id) == before


def test_an_expired_lease_goes_back_to_the_queue_and_is_charged(connection: Connection) -> None:
    mine = new_claim(connection, lease_seconds=GONE)
    [job] = reap(connection)
    assert (job.id, job.state, job.failures) == (mine.job_id, "queued", 1)
    assert seconds_to_wait(connection, job) == pytest.approx(1, abs=0.9)
    assert event_types(connection, job.id) == ["queued", "running", "requeued"]
    assert reap(connection) == []


def test_an_expired_lease_at_the_cap_fails_as_worker_lost(connection: Connection) -> None:
    new_claim(connection, lease_seconds=GONE)
    [job] = reap(connection, max_attempts=1)
    assert (job.state, job.state_reason) == ("failed", "worker_lost")


def test_an_expired_lease_of_a_job_asked_to_stop_ends_cancelled(connection: Connection) -> None:
    mine = new_claim(connection, lease_seconds=GONE)
    cancel_job(connection, mine.job_id)
    [job] = reap(connection)
    assert (job.state, job.state_reason) == ("cancelled", "cancelled_by_user")


def test_reapers_do_not_get_into_each_others_way(database: Database) -> None:
    with database.write() as connection:
        lost = {new_claim(connection, lease_seconds=GONE).job_id for _ in range(20)}
    results = at_once(*[transaction(database, reap) for _ in range(4)])
    reaped = [job.id for part in results for job in part]
    assert sorted(reaped) == sorted(lost)


def test_a_lease_that_is_being_renewed_is_left_alone(postgresql_url: str) -> None:
    with closing(Database(postgresql_url)) as database:
        with database.write() as connection:
            mine = new_claim(connection, lease_seconds=GONE)
        with database.write() as renewing, database.write() as reaping:
            renew(renewing, mine)
            assert reap(reaping) == []


def test_the_leases_of_a_lost_owner_can_be_ended(connection: Connection) -> None:
    mine = new_claim(connection, owner="gone")
    stopping = new_claim(connection, owner="gone")
    cancel_job(connection, stopping.job_id)
    new_claim(connection, owner="alive")
    jobs.expire_leases(connection, owner="gone")
    assert {job.id for job in reap(connection)} == {mine.job_id, stopping.job_id}


# Removal


@pytest.mark.parametrize("end", ENDS)
def test_a_job_that_is_over_can_be_removed_and_leaves_its_model(
    connection: Connection, end: Write
) -> None:
    mine = new_claim(connection)
    record(connection, mine)
    end(connection, mine)
    _, _, _, model = everything(connection, mine.job_id)
    assert remove_job(connection, mine.job_id).id == mine.job_id
    with pytest.raises(JobNotFound):
        get_job(connection, mine.job_id)
    assert jobs.metrics(connection, mine.job_id, after_epoch=0) == []
    assert event_types(connection, mine.job_id) == []
    assert models.of_jobs(connection, [mine.job_id]) == model


def test_a_job_that_is_not_over_cannot_be_removed(connection: Connection) -> None:
    queued, running, stopping = (new_job(connection).id for _ in range(3))
    for job_id in (running, stopping):
        claim(connection, job_id)
    cancel_job(connection, stopping)
    for job_id in (queued, running, stopping):
        before = everything(connection, job_id)
        with pytest.raises(IllegalTransition):
            remove_job(connection, job_id)
        assert everything(connection, job_id) == before


# Delivery


def due_for_dispatch(
    connection: Connection, *, redispatch_seconds: float = 30
) -> list[tuple[str, str]]:
    return jobs.due_for_dispatch(connection, redispatch_seconds=redispatch_seconds, limit=9)


def test_a_due_job_is_undelivered_until_a_message_went_out(connection: Connection) -> None:
    job = new_job(connection, queue="gpu")
    assert due_for_dispatch(connection) == [(job.id, "gpu")]
    jobs.mark_dispatched(connection, [job.id])
    assert due_for_dispatch(connection) == []
    assert jobs.claimable(connection, limit=9) == [job.id]


def test_a_message_that_nobody_answers_is_sent_again(connection: Connection) -> None:
    job = new_job(connection)
    jobs.mark_dispatched(connection, [job.id])
    assert due_for_dispatch(connection, redispatch_seconds=-60) == [(job.id, "cpu")]


def test_a_message_that_went_out_for_a_job_that_is_over_by_then_changes_nothing(
    connection: Connection,
) -> None:
    job = new_job(connection)
    over = jobs.cancel(connection, job.id, tenant=job.tenant)
    jobs.mark_dispatched(connection, [job.id])
    assert jobs.get(connection, job.id, tenant=job.tenant) == over


def test_a_job_back_in_the_queue_is_undelivered(connection: Connection) -> None:
    mine = new_claim(connection)
    jobs.mark_dispatched(connection, [mine.job_id])
    jobs.release(connection, mine)
    assert due_for_dispatch(connection) == [(mine.job_id, "cpu")]


def test_a_job_that_runs_waits_or_is_over_needs_no_message(connection: Connection) -> None:
    new_claim(connection)
    retry(connection, new_claim(connection), backoff_seconds=60)
    succeed(connection, new_claim(connection))
    cancel_job(connection, new_job(connection).id)
    assert due_for_dispatch(connection, redispatch_seconds=-60) == []


def test_the_oldest_jobs_are_delivered_first(connection: Connection) -> None:
    ids = sorted(new_job(connection).id for _ in range(4))
    due = jobs.due_for_dispatch(connection, redispatch_seconds=30, limit=3)
    assert [job_id for job_id, _ in due] == ids[:3]
    assert jobs.claimable(connection, limit=3) == ids[:3]


# A clock that is set back


def set_back_the_clock(connection: Connection, seconds: float = 3600) -> None:
    """Put every stored time as far into the future as a clock set back would."""
    for name in ("run_after", "lease_expires_at", "dispatched_at", "created_at", "started_at"):
        column = jobs_table.c[name]
        connection.execute(update(jobs_table).values({column: column + seconds}))


@pytest.mark.parametrize("seconds", [10, 3600])
def test_a_queued_job_does_not_wait_for_the_clock(connection: Connection, seconds: float) -> None:
    job = new_job(connection)
    jobs.mark_dispatched(connection, [job.id])
    set_back_the_clock(connection, seconds)
    assert jobs.claimable(connection, limit=9, max_running=1) == [job.id]
    assert due_for_dispatch(connection) == [(job.id, "cpu")]
    assert claim(connection, job.id) is not None


def test_a_backoff_does_not_wait_for_the_clock(connection: Connection) -> None:
    mine = new_claim(connection)
    retry(connection, mine, backoff_seconds=60)
    assert claim(connection, mine.job_id) is None
    set_back_the_clock(connection)
    assert claim(connection, mine.job_id) is not None


def test_a_lease_lasts_no_longer_than_leases_do(connection: Connection) -> None:
    """Its owner, if it lives, renews it before it is over."""
    mine = new_claim(connection)
    set_back_the_clock(connection)
    assert reap(connection) == []
    lease_at = get_job(connection, mine.job_id).lease_expires_at
    assert lease_at is not None
    now = connection.execute(select(database_now())).scalar_one()
    assert lease_at - now == pytest.approx(60, abs=10)
    renew(connection, mine)
    assert reap(connection) == []
