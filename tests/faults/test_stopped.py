"""Processes that stand still past their lease (SIGSTOP), and then go on as if nothing had been."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from store import jobs
from store.database.engine import Database, is_unavailable
from store.database.tables import database_now
from store.jobs import Claim, Job
from store.operations.retention import sweep
from tests.faults.stand import Stand, only_in_full
from tests.support.processes import is_alive, wait_for_trainer, warm_trainer_server
from tests.support.waiting import wait_until
from tests.support.worker_examples import (
    ENDLESS,
    SHORT_LEASES,
    Result,
    get_job,
    models_of,
    new_job,
    new_worker,
    supervising,
)

pytestmark = [pytest.mark.xdist_group("faults-processes"), pytest.mark.timeout(3600)]

LEASE_SECONDS = SHORT_LEASES["lease_seconds"]
HELD_AT = 10

Record = Callable[..., None]


class Held:
    """A job in one attempt, with the two processes that run it, to be stopped."""

    def __init__(self, stand: Stand) -> None:
        self._stand = stand
        workers = stand.system.find("worker")
        self.job_id = stand.client.submit()
        stand.client.wait_for_epoch(self.job_id, HELD_AT)
        # All of them, before anything is looked up: the job would go on meanwhile, and might end.
        self.stop(*workers)
        self.stop(*stand.system.find("trainer"))
        self._stopped = [*workers, stand.trainer(self.job_id)]
        self.supervisor = stand.supervisor(self.job_id)
        self.trainer = stand.trainer(self.job_id)
        self.attempt = self.job.attempt
        self.lease_at = self.job.lease_expires_at or 0

    @property
    def job(self) -> Job:
        return self._stand.job(self.job_id)

    @property
    def has_model_files(self) -> bool:
        """Whether its attempt, which may no longer count, has put a model."""
        return self._stand.has_model_files(self.job_id, self.attempt)

    def wait_for_model_files(self) -> None:
        wait_until(lambda: self.has_model_files, 60)

    def stop(self, *processes: psutil.Process) -> None:
        for process in processes:
            self._stand.system.stop(process)

    def stop_only(self, *processes: psutil.Process) -> None:
        """Let the other workers and trainers go on."""
        for process in self._stopped:
            if process not in processes:
                process.resume()

    def wait_for_successor(self) -> psutil.Process:
        """The trainer of the next attempt."""
        wait_until(lambda: self.job.attempt > self.attempt, 60)
        return self._stand.trainer(self.job_id)

    def wait_to_take_over(self) -> Job:
        """Claim the job as soon as its lease is over, for long enough; the job as it is then."""

        def take_over() -> Job | None:
            try:
                with self._stand.database.write() as transaction:
                    return jobs.claim(
                        transaction,
                        self.job_id,
                        owner="successor",
                        lease_seconds=600,
                        num_threads=1,
                        max_attempts=100,
                    )
            except DBAPIError as error:
                # It was stopped in a transaction, whose lock the server takes from it in time.
                if not is_unavailable(error):
                    raise
                return None

        job = wait_until(take_over, 60)
        assert job is not None
        return job

    def give_back(self, job: Job) -> None:
        with self._stand.database.write() as transaction:
            jobs.release(transaction, Claim(job.id, job.attempt))

    def wait_until_refused(self) -> None:
        """Let the supervisor go on until it has found out, and its trainer is dead."""
        self.supervisor.resume()
        wait_until(lambda: self._stand.says("lease lost", self.job_id), 60)
        self.wait_for_trainer_to_die()
        assert is_alive(self.supervisor)

    def wait_for_trainer_to_die(self) -> None:
        wait_until(lambda: not is_alive(self.trainer), 60)

    def wait_until_renewed(self) -> None:
        """Wait for longer than its first lease was."""
        until = self.lease_at + LEASE_SECONDS
        wait_until(lambda: (self.job.lease_expires_at or 0) > until, 60)

    def wait_until_expired(self) -> None:
        wait_until(lambda: self._now() > (self.job.lease_expires_at or 0), 60)

    def wait_until_swept(self) -> None:
        wait_until(self._is_swept, 60)

    def _now(self) -> float:
        with self._stand.database.read() as transaction:
            return transaction.execute(select(database_now())).scalar_one()

    def _is_swept(self) -> bool:
        sweep(self._stand.system.settings, self._stand.database, self._stand.artifacts)
        return not self.has_model_files


@only_in_full
@pytest.mark.parametrize("wakes", ["supervisor", "trainer"])
def test_a_zombie_that_wakes_when_all_is_over_is_refused(
    scaled_out_stand: Stand, uninterrupted: Result, num_runs: int, record_fault: Record, wakes: str
) -> None:
    """Where the trainer goes on alone, it ends its training and puts a model that nobody needs."""
    stand = scaled_out_stand
    for _ in range(num_runs):
        held = Held(stand)
        held.stop_only(held.supervisor, held.trainer)
        assert stand.client.result(held.job_id) == uninterrupted
        ended = held.job
        assert ended.attempt > held.attempt
        if wakes == "trainer":
            held.trainer.resume()
            held.wait_for_model_files()
        held.wait_until_refused()

        assert held.job == ended
        assert stand.num_models(held.job_id) == 1
        held.wait_until_swept()
        assert stand.has_model_files(held.job_id, ended.attempt)
        assert stand.client.result(held.job_id) == uninterrupted
    record_fault(
        f"stopped past the lease, {wakes} wakes first, scaled out",
        runs=num_runs,
        stale_writes=0,
        duplicate_models=0,
        orphans_left=0,
    )


@only_in_full
def test_a_zombie_does_not_disturb_its_successor(
    scaled_out_stand: Stand, uninterrupted: Result, num_runs: int, record_fault: Record
) -> None:
    stand = scaled_out_stand
    for _ in range(num_runs):
        held = Held(stand)
        held.stop_only(held.supervisor, held.trainer)
        held.stop(held.wait_for_successor())  # so that the job is not over yet
        taken_over = held.job
        held.wait_until_refused()

        assert (held.job.state, held.job.attempt) == ("running", taken_over.attempt)
        stand.system.resume()
        assert stand.client.result(held.job_id) == uninterrupted
        assert stand.num_models(held.job_id) == 1
        told = [event["data"].get("attempt", 0) for event in stand.client.events(held.job_id)]
        assert told == sorted(told)  # a stale write would come after its successor's
    record_fault(
        "stopped past the lease, successor at work, scaled out",
        runs=num_runs,
        stale_writes=0,
        duplicate_models=0,
    )


def test_what_a_supervisor_wakes_to_is_refused_while_its_successor_runs(
    scaled_out_stand: Stand, uninterrupted: Result, num_runs: int, record_fault: Record
) -> None:
    """It finds all of a training in its pipe, and writes it before it looks at its lease."""
    stand = scaled_out_stand
    stale_writes = 0
    for _ in range(num_runs):
        held = Held(stand)
        held.trainer.resume()  # alone: no worker takes what the test is to take
        held.wait_for_model_files()
        taken_over = held.wait_to_take_over()
        before = stand.client.events(held.job_id)
        held.wait_until_refused()

        stale_writes += stand.client.events(held.job_id) != before
        assert (held.job, stale_writes) == (taken_over, 0)
        held.give_back(taken_over)
        stand.system.resume()
        assert stand.client.result(held.job_id) == uninterrupted
        assert stand.num_models(held.job_id) == 1
    record_fault(
        "supervisor stopped past the lease, successor at work, scaled out",
        runs=num_runs,
        stale_writes=stale_writes,
        duplicate_models=0,
    )


@only_in_full
def test_a_training_that_its_supervisor_has_slept_through_counts_once(
    scaled_out_stand: Stand, uninterrupted: Result, num_runs: int, record_fault: Record
) -> None:
    """The supervisor alone stands still, and wakes to a pipe full of what is another's by now."""
    stand = scaled_out_stand
    for _ in range(num_runs):
        held = Held(stand)
        held.stop_only(held.supervisor)
        assert stand.client.result(held.job_id) == uninterrupted
        held.wait_for_trainer_to_die()  # its training is at its end
        ended = held.job
        held.wait_until_refused()

        assert held.job == ended
        assert stand.num_models(held.job_id) == 1
    record_fault(
        "supervisor stopped past the lease, trainer not, scaled out",
        runs=num_runs,
        stale_writes=0,
        duplicate_models=0,
    )


@only_in_full
def test_a_trainer_that_stands_still_keeps_its_job(
    stand: Stand, uninterrupted: Result, num_runs: int, record_fault: Record, shape: str
) -> None:
    for _ in range(num_runs):
        held = Held(stand)
        held.stop_only(held.trainer)
        held.wait_until_renewed()
        assert held.job.attempt == held.attempt
        stand.system.resume()

        assert stand.client.result(held.job_id) == uninterrupted
        assert stand.num_models(held.job_id) == 1
    record_fault(f"trainer stopped past the lease, {shape}", runs=num_runs, jobs_lost=0)


@only_in_full
def test_alone_it_finds_its_lease_lost_and_begins_again(
    embedded_stand: Stand, uninterrupted: Result, num_runs: int, record_fault: Record
) -> None:
    """The embedded default has nobody who would take over while its worker stands still."""
    stand = embedded_stand
    for _ in range(num_runs):
        held = Held(stand)
        held.stop_only(held.supervisor, held.trainer)
        held.wait_until_expired()
        stand.system.resume()

        assert stand.client.result(held.job_id) == uninterrupted
        assert held.job.attempt > held.attempt
        assert stand.num_models(held.job_id) == 1
        held.wait_for_trainer_to_die()
    record_fault(
        "supervisor and trainer stopped past the lease, embedded",
        runs=num_runs,
        jobs_lost=0,
        duplicate_models=0,
    )


@only_in_full
def test_a_trainer_that_hangs_has_no_more_than_its_time(
    tmp_path: Path, sqlite_url: str, num_runs: int, record_fault: Record
) -> None:
    """It cannot obey the order to finish, so its supervisor ends it and the job."""
    warm_trainer_server()
    with closing(Database(sqlite_url)) as database:
        worker = new_worker(database, tmp_path / "data", grace_seconds=0.5)
        for _ in range(num_runs):
            job_id = new_job(worker, **ENDLESS, max_runtime_seconds=2)
            with supervising(job_id, worker) as attempt:
                trainer = wait_for_trainer()
                trainer.suspend()
                wait_until(attempt.done, 60)

            job = get_job(worker, job_id)
            assert (job.state, job.state_reason) == ("failed", "max_runtime_exceeded")
            assert job.detail == "the trainer did not score and save in finish_seconds"
            assert not is_alive(trainer)
            assert models_of(worker, job_id) == []
    record_fault("trainer hangs past max_runtime_seconds", runs=num_runs, jobs_lost=0)
