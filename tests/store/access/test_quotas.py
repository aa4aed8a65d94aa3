"""A tenant has what it may have, and not one more, however many ask at once."""

import pytest
from sqlalchemy import Connection

from store import datasets, jobs, sweeps
from store.access import quotas
from store.database.engine import Database
from store.errors import QuotaExceeded
from store.ids import new_id
from store.jobs import Claim, Job
from tests.support.concurrency import at_once, transaction
from tests.support.store_examples import claim, spec
from tests.support.stored_sweeps import new_sweep

MINE, OTHER = "mine", "other"


def submit(connection: Connection, *, tenant: str = MINE) -> Job:
    return jobs.create(connection, spec(), tenant=tenant, queue="cpu")


def keep(connection: Connection, *, tenant: str = MINE, size_bytes: int = 1) -> None:
    datasets.create(
        connection,
        id=new_id("ds"),
        tenant=tenant,
        name="flowers",
        format="csv",
        size_bytes=size_bytes,
        sha256="0" * 64,
        num_rows=150,
        columns=[],
        artifact="datasets/1",
    )


def submit_within(connection: Connection, *, max_queued: int) -> Job:
    quotas.require_queue_quota(connection, tenant=MINE, max_queued=max_queued)
    return submit(connection)


def keep_within(connection: Connection, *, max_datasets: int) -> None:
    quotas.require_dataset_quota(
        connection, tenant=MINE, size_bytes=1, max_datasets=max_datasets, max_bytes=None
    )
    keep(connection)


def ids_of_claimable(connection: Connection, *, max_running: int) -> list[str]:
    return jobs.claimable(connection, limit=100, max_running=max_running)


def ids_due_for_dispatch(connection: Connection, *, max_running: int) -> list[str]:
    due = jobs.due_for_dispatch(
        connection, redispatch_seconds=30, limit=100, max_running=max_running
    )
    return [job_id for job_id, _ in due]


def test_as_many_jobs_wait_as_may(connection: Connection) -> None:
    waiting = [submit_within(connection, max_queued=2) for _ in range(2)]
    with pytest.raises(QuotaExceeded, match="limit is 2 queued jobs"):
        submit_within(connection, max_queued=2)
    claim(connection, waiting[0].id)  # one that runs does not wait
    submit_within(connection, max_queued=2)


def test_what_is_paused_waits_too(connection: Connection) -> None:
    jobs.pause(connection, submit_within(connection, max_queued=2).id, tenant=MINE)
    sweeps.pause(connection, new_sweep(connection, tenant=MINE).id, tenant=MINE)
    with pytest.raises(QuotaExceeded, match="limit is 2 queued jobs"):
        submit_within(connection, max_queued=2)


def test_the_jobs_of_others_take_no_place(connection: Connection) -> None:
    submit(connection, tenant=OTHER)
    keep(connection, tenant=OTHER)
    submit_within(connection, max_queued=1)
    keep_within(connection, max_datasets=1)


def test_of_jobs_submitted_at_once_no_more_are_taken_than_may_wait(database: Database) -> None:
    taken = at_once(*[transaction(database, submit_within, max_queued=3) for _ in range(8)])
    assert sum(isinstance(job, Job) for job in taken) == 3
    assert sum(isinstance(error, QuotaExceeded) for error in taken) == 5


def test_as_many_datasets_are_kept_as_may(connection: Connection) -> None:
    keep_within(connection, max_datasets=1)
    with pytest.raises(QuotaExceeded, match="limit is 1 datasets"):
        keep_within(connection, max_datasets=1)


def test_of_datasets_uploaded_at_once_no_more_are_kept_than_may(database: Database) -> None:
    kept = at_once(*[transaction(database, keep_within, max_datasets=3) for _ in range(8)])
    assert kept.count(None) == 3
    assert sum(isinstance(error, QuotaExceeded) for error in kept) == 5


def test_datasets_take_no_more_bytes_than_they_may(connection: Connection) -> None:
    def require(size_bytes: int) -> None:
        quotas.require_dataset_quota(
            connection, tenant=MINE, size_bytes=size_bytes, max_datasets=9, max_bytes=2**33 + 40
        )

    keep(connection, size_bytes=2**33)  # larger than an integer of the databases
    require(40)
    with pytest.raises(QuotaExceeded, match=f"{2**33} are stored"):
        require(41)


def test_no_more_jobs_run_than_may(connection: Connection) -> None:
    first, second, third = (submit(connection).id for _ in range(3))
    assert claim(connection, first, max_running=2)
    assert claim(connection, second, max_running=2)
    assert claim(connection, third, max_running=2) is None
    jobs.cancel(connection, first, tenant=MINE)  # which runs until it has stopped
    assert claim(connection, third, max_running=2) is None
    jobs.cancelled(connection, Claim(first, 1))
    assert claim(connection, third, max_running=2)


def test_a_job_that_is_not_there_is_not_claimed(connection: Connection) -> None:
    assert claim(connection, "job_unknown", max_running=2) is None


def test_the_running_jobs_of_others_take_no_place(connection: Connection) -> None:
    theirs, mine = submit(connection, tenant=OTHER), submit(connection)
    assert claim(connection, theirs.id, max_running=1)
    assert claim(connection, mine.id, max_running=1)


def test_of_jobs_claimed_at_once_no_more_run_than_may(database: Database) -> None:
    with database.write() as connection:
        job_ids = [submit(connection).id for _ in range(8)]
    claims = [transaction(database, claim, job_id, max_running=3) for job_id in job_ids]
    assert sum(isinstance(job, Job) for job in at_once(*claims)) == 3


def test_jobs_for_a_queue_without_workers_keep_none_of_another_waiting(
    connection: Connection,
) -> None:
    jobs.create(connection, spec(), tenant=MINE, queue="gpu")
    mine = submit(connection)
    due = jobs.due_for_dispatch(
        connection, queue="cpu", redispatch_seconds=30, limit=9, max_running=1
    )
    assert due == [(mine.id, "cpu")]
    assert jobs.claimable(connection, queue="cpu", limit=9, max_running=1) == [mine.id]


@pytest.mark.parametrize("ask", [ids_of_claimable, ids_due_for_dispatch])
def test_nobody_is_called_upon_in_vain(connection: Connection, ask: object) -> None:
    """As many of a tenant's oldest as may run, so that a long queue keeps no other tenant away."""
    assert callable(ask)
    mine = sorted(submit(connection).id for _ in range(4))
    theirs = sorted(submit(connection, tenant=OTHER).id for _ in range(2))
    assert ask(connection, max_running=2) == sorted(mine[:2] + theirs)
    claim(connection, mine[1])
    assert ask(connection, max_running=2) == sorted(mine[:1] + theirs)
    claim(connection, mine[0])
    assert ask(connection, max_running=2) == theirs
