"""The ownership protocol as a whole: whatever happens in whatever order, the invariants hold."""

import os
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, select, update

from store import events, jobs, models
from store.access.keys import DEFAULT_TENANT
from store.database.engine import Database
from store.database.tables import jobs as jobs_table
from store.database.tables import models as models_table
from store.errors import IllegalTransition, JobNotFound, LeaseLost
from store.jobs import Claim, Job
from tests.support.store_examples import GONE, TRAINED, claim, epoch, new_job

MAX_ATTEMPTS = 3
MAX_JOBS = 3  # so that attempts at one meet
WRITES: dict[str, Callable[..., Any]] = {
    "renew": lambda connection, mine: jobs.renew(connection, mine, lease_seconds=60),
    "renew for a moment": lambda connection, mine: jobs.renew(connection, mine, lease_seconds=GONE),
    "succeed": lambda connection, mine: jobs.succeed(
        connection, mine, reason="completed", trained=TRAINED
    ),
    "fail": lambda connection, mine: jobs.fail(connection, mine, reason="diverged", detail="why"),
    "release": jobs.release,
    "warn": lambda connection, mine: jobs.warn(connection, mine, ["a class is not trained"]),
    "progressed": jobs.progressed,
    "retry": lambda connection, mine: jobs.retry(
        connection,
        mine,
        reason="worker_lost",
        detail="why",
        max_attempts=MAX_ATTEMPTS,
        backoff_seconds=1,
    ),
}


# Of those whose job is being worked on, by them or by an attempt after them, while there are any.
A_CLAIM = st.runner().flatmap(lambda machine: st.sampled_from(machine.at_work or machine.claims))


class Protocol(RuleBasedStateMachine):
    """Clients, workers and a reaper at work on a few jobs, any of them at any time."""

    database: ClassVar[Database]
    job_ids = Bundle("job_ids")

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, Job] = {}
        self.claims: list[Claim] = []
        self.removed: set[str] = set()
        with self.database.write() as connection:
            connection.execute(delete(jobs_table))
            connection.execute(delete(models_table))

    @property
    def at_work(self) -> list[Claim]:
        states = ("running", "cancelling")
        return [mine for mine in self.claims if self._state(mine.job_id) in states]

    @initialize(target=job_ids)
    def create_one(self) -> str:
        return self.create()

    @precondition(lambda self: len(self.known) < MAX_JOBS)
    @rule(target=job_ids)
    def create(self) -> str:
        with self.database.write() as connection:
            return self._know(new_job(connection)).id

    @rule(job_id=job_ids, lease_seconds=st.sampled_from([60, GONE]), lost=st.booleans())
    def claim(self, job_id: str, lease_seconds: float, *, lost: bool) -> None:
        """A worker takes the job; maybe from one that is `lost`, and may yet write."""
        with self.database.write() as connection:
            if lost:
                jobs.expire_leases(connection, owner="me")
            job = claim(connection, job_id, lease_seconds=lease_seconds, max_attempts=MAX_ATTEMPTS)
        if job is not None:
            assert job.attempt == self.known[job_id].attempt + 1
            self.claims.append(Claim(job.id, job.attempt))

    @precondition(lambda self: self.claims)
    @rule(mine=A_CLAIM, write=st.sampled_from(sorted(WRITES)))
    def write(self, mine: Claim, write: str) -> None:
        self._write(mine, ("running", "cancelling"), WRITES[write])

    @precondition(lambda self: self.claims)
    @rule(mine=A_CLAIM, number=st.integers(1, 4))
    def record(self, mine: Claim, number: int) -> None:
        self._write(
            mine,
            ("running", "cancelling"),
            lambda connection, mine: jobs.record(connection, mine, epoch(number)),
        )

    @precondition(lambda self: self.claims)
    @rule(mine=A_CLAIM)
    def cancelled(self, mine: Claim) -> None:
        self._write(mine, ("cancelling",), jobs.cancelled)

    @rule(job_id=job_ids)
    def cancel(self, job_id: str) -> None:
        state = self._state(job_id)
        try:
            with self.database.write() as connection:
                jobs.cancel(connection, job_id, tenant=DEFAULT_TENANT)
        except JobNotFound:
            assert state is None
        except IllegalTransition:
            assert state in ("succeeded", "failed")
        else:
            assert state not in (None, "succeeded", "failed")

    @rule(job_id=job_ids, pause=st.booleans())
    def pause_or_resume(self, job_id: str, *, pause: bool) -> None:
        state = self._state(job_id)
        try:
            with self.database.write() as connection:
                ask = jobs.pause if pause else jobs.resume
                job = ask(connection, job_id, tenant=DEFAULT_TENANT)
        except JobNotFound:
            assert state is None
        except IllegalTransition:
            assert state in ("cancelling", *jobs.TERMINAL)
        else:
            assert state in ("queued", "running", "paused")
            assert job.pause_requested == (pause and state == "running")
            assert job.state == (state if state == "running" else "paused" if pause else "queued")

    @rule(job_id=job_ids)
    def remove(self, job_id: str) -> None:
        state = self._state(job_id)
        try:
            with self.database.write() as connection:
                jobs.remove(connection, job_id, tenant=DEFAULT_TENANT)
        except JobNotFound:
            assert state is None
        except IllegalTransition:
            assert state not in (None, *jobs.TERMINAL)
        else:
            assert state in jobs.TERMINAL
            self.removed.add(job_id)

    @rule(lost=st.booleans())
    def reap(self, *, lost: bool) -> None:
        with self.database.write() as connection:
            if lost:
                jobs.expire_leases(connection, owner="me")
            jobs.reap(connection, lease_seconds=60, max_attempts=MAX_ATTEMPTS, backoff_seconds=1)

    @rule()
    def let_time_pass(self) -> None:
        """Until jobs that were put back are due, and a dispatcher has told of them."""
        with self.database.write() as connection:
            connection.execute(update(jobs_table).values(run_after=0))
            due = jobs.due_for_dispatch(connection, redispatch_seconds=30, limit=9)
            jobs.mark_dispatched(connection, [job_id for job_id, _ in due])

    @invariant()
    def nothing_is_lost_or_invented(self) -> None:
        with self.database.read() as connection:
            for job_id, before in list(self.known.items()):
                if job_id in self.removed:
                    continue
                job = self._know(jobs.get(connection, job_id, tenant=DEFAULT_TENANT))
                assert job.attempt >= before.attempt
                if before.state in jobs.TERMINAL:
                    assert job.state == before.state
                    assert job.num_events == before.num_events
                if before.state == "cancelling":
                    assert job.state in ("cancelling", "cancelled")
                page = events.page(connection, job_id, after=0, limit=1000)
                assert [event.sequence for event in page] == list(range(1, job.num_events + 1))
                rows = jobs.metrics(connection, job_id, after_epoch=0)
                assert [row["epoch"] for row in rows] == list(range(1, job.epochs_completed + 1))
                owned = job.state in ("running", "cancelling")
                assert (
                    job.state == "running" or not job.pause_requested or job.state == "cancelling"
                )
                assert owned == (job.owner is not None) == (job.lease_expires_at is not None)
                assert (job.state in jobs.TERMINAL) == (job.finished_at is not None)
            with_model = connection.execute(select(models_table.c.job_id)).scalars().all()
        succeeded = [job_id for job_id, job in self.known.items() if job.state == "succeeded"]
        assert sorted(with_model) == sorted(succeeded)

    def _write(self, mine: Claim, states: tuple[str, ...], write: Callable[..., Any]) -> None:
        before = self._everything(mine.job_id)
        job = before[0]
        owns = job is not None and job.attempt == mine.attempt and job.state in states
        try:
            with self.database.write() as connection:
                write(connection, mine)
        except LeaseLost:
            assert not owns
            assert self._everything(mine.job_id) == before
        else:
            assert owns

    def _everything(self, job_id: str) -> tuple[Any, ...]:
        with self.database.read() as connection:
            return (
                None
                if job_id in self.removed
                else jobs.get(connection, job_id, tenant=DEFAULT_TENANT),
                jobs.metrics(connection, job_id, after_epoch=0),
                events.page(connection, job_id, after=0, limit=1000),
                models.of_jobs(connection, [job_id]),
            )

    def _know(self, job: Job) -> Job:
        self.known[job.id] = job
        return job

    def _state(self, job_id: str) -> str | None:
        return None if job_id in self.removed else self.known[job_id].state


@pytest.mark.parametrize(("kind", "num_runs"), [("sqlite", 10), ("postgresql", 5)])
def test_the_invariants_hold_whatever_happens(
    request: pytest.FixtureRequest, kind: str, num_runs: int
) -> None:
    database = Database(request.getfixturevalue(f"{kind}_url"))

    class Machine(Protocol):
        pass

    Machine.database = database
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=num_runs * (2 * int(os.environ.get("FAULTS", "0")) or 1),
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    database.close()
