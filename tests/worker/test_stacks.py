"""Trials that train as one: each has its own claim, and its end does not concern the others."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from threading import Event

import psutil
import pytest
from sqlalchemy import update

from store import jobs, sweeps
from store.access.keys import DEFAULT_TENANT
from store.database.engine import Database
from store.database.tables import jobs as jobs_table
from tests.support.processes import wait_for_trainer, warm_trainer_server
from tests.support.small_disks import FullFor
from tests.support.waiting import wait_until
from tests.support.worker_examples import (
    artifacts_of,
    event_types,
    get_job,
    models_of,
    new_job,
    new_worker,
    supervising,
    wait_for_epoch,
)
from tests.support.worker_sweeps import (
    RATES,
    Outcome,
    due,
    get_sweep,
    new_sweep,
    outcome,
    run_sweep,
    trials_of,
)
from worker import trainer_process
from worker.attempt import Worker
from worker.supervisor import drive, supervise

# Rungs after 1, 2 and 4 epochs.
HALVED = {
    "rates": RATES[:4],
    "training": {"epochs": 4},
    "pruner": {"name": "successive_halving", "reduction": 2},
}
# One rung, whose training takes long enough to be disturbed.
LONG = {"rates": RATES[:3], "training": {"epochs": 250}, "pruner": "none"}
COMPLETED = ("queued", "running", "succeeded")
ENDLESS = {"training": {"epochs": 100_000}, "rates": RATES[:3], "pruner": "none"}


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def worker(worker: Worker) -> Worker:
    """A worker whose trainers do not store each epoch, and that runs one at a time."""
    values = {"checkpoint_seconds": 0.2, "concurrency": 1}
    settings = worker.settings.model_copy(update=values)
    return replace(worker, settings=settings)


@pytest.fixture(scope="module")
def worker_of_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker that trains every trial in a process of its own."""
    warm_trainer_server()
    folder = tmp_path_factory.mktemp("alone")
    with closing(Database(f"sqlite:///{folder / 'dropout.db'}")) as database:
        database.migrate()
        yield new_worker(database, folder, max_stack=1, checkpoint_seconds=10)


@pytest.fixture(scope="module")
def alone(worker_of_one: Worker) -> Outcome:
    return run_sweep(worker_of_one, new_sweep(worker_of_one, **LONG))  # type: ignore[arg-type]


def begun(worker: Worker, **options: object) -> tuple[str, list[str]]:
    """Create a sweep and its trials; return its id and those of the jobs."""
    sweep_id = new_sweep(worker, **options)  # type: ignore[arg-type]
    drive(worker)
    return sweep_id, due(worker)


def test_a_stack_gives_what_trials_alone_give(worker: Worker, worker_of_one: Worker) -> None:
    alone = run_sweep(worker_of_one, new_sweep(worker_of_one, **HALVED))  # type: ignore[arg-type]
    sweep_id, trials = begun(worker, **HALVED)
    supervise(trials[2], worker)  # one process trains them from rung to rung, and the winner
    ends = sorted(job.state for job in trials_of(worker, sweep_id))
    assert ends == ["cancelled", "cancelled", "cancelled", "succeeded"]

    assert run_sweep(worker, sweep_id) == alone
    assert alone.state == "succeeded"
    assert alone.weights_sha256 is not None
    [winner] = [job for job in trials_of(worker, sweep_id) if job.state == "succeeded"]
    assert winner.attempt == 4  # one for each rung, and one to complete it
    assert event_types(worker, winner.id) == [*["queued", "running", "paused"] * 3, *COMPLETED]
    wait_until(lambda: all(f"{winner.id}/4/model/" in key for key in worker.artifacts.list("jobs")))


def test_a_killed_trainer_costs_all_members_time_alone(worker: Worker, alone: Outcome) -> None:
    sweep_id, trials = begun(worker, **LONG)
    with supervising(trials[0], worker):
        wait_for_epoch(worker, trials[2], 3)
        wait_for_trainer().kill()
    lost = trials_of(worker, sweep_id)
    assert {(job.state, job.failures, job.owner) for job in lost} == {("queued", 1, None)}

    assert run_sweep(worker, sweep_id) == alone
    assert all(get_job(worker, job_id).attempt >= 2 for job_id in trials)


def test_members_that_are_lost_or_cancelled_or_diverge_leave_the_others(worker: Worker) -> None:
    sweep_id, trials = begun(worker, **(ENDLESS | {"rates": (*RATES[:3], 1e30)}))
    lost, cancelled, kept, diverges = trials
    with supervising(kept, worker) as attempt:
        wait_until(lambda: get_job(worker, diverges).state == "failed", 30)
        trainer = wait_for_trainer()
        with worker.database.write() as transaction:
            jobs.cancel(transaction, cancelled, tenant=DEFAULT_TENANT)
            theirs = update(jobs_table).where(jobs_table.c.id == lost)
            transaction.execute(theirs.values(owner="other", attempt=2))
        wait_until(lambda: get_job(worker, cancelled).state == "cancelled", 10)
        assert_goes_on(worker, kept, trainer)
        assert get_job(worker, lost).epochs_completed < get_job(worker, kept).epochs_completed
        worker.draining.set()
        attempt.result(30)

    assert get_job(worker, diverges).state_reason == "diverged"
    assert (get_job(worker, lost).state, get_job(worker, lost).owner) == ("running", "other")
    job = get_job(worker, kept)
    assert (job.state, job.failures, job.owner) == ("queued", 0, None)
    assert any("checkpoints" in key for key in artifacts_of(worker, kept))
    assert artifacts_of(worker, diverges) == []
    assert len(outcome(worker, sweep_id).results) < 3


def assert_goes_on(worker: Worker, job_id: str, trainer: psutil.Process) -> None:
    epochs = get_job(worker, job_id).epochs_completed
    wait_for_epoch(worker, job_id, epochs + 5)
    assert trainer.is_running()


def test_a_paused_sweep_holds_no_worker_and_goes_on_where_it_was(
    worker: Worker, alone: Outcome
) -> None:
    sweep_id, trials = begun(worker, **LONG)
    with supervising(trials[0], worker) as attempt:
        wait_for_epoch(worker, trials[0], 2)
        with worker.database.write() as transaction:
            sweeps.pause(transaction, sweep_id, tenant=DEFAULT_TENANT)
        wait_until(attempt.done, 10)
    waiting = trials_of(worker, sweep_id)
    assert {(job.state, job.owner) for job in waiting} == {("paused", None)}
    assert due(worker) == []

    with worker.database.write() as transaction:
        sweeps.resume(transaction, sweep_id, tenant=DEFAULT_TENANT)
    found = run_sweep(worker, sweep_id)
    assert (found.winners, found.weights_sha256) == (alone.winners, alone.weights_sha256)
    assert found.results == alone.results


def test_a_drained_stack_is_handed_on_uncharged(worker: Worker, alone: Outcome) -> None:
    sweep_id, trials = begun(worker, **LONG)
    with supervising(trials[0], worker):
        wait_for_epoch(worker, trials[0], 2)
        worker.draining.set()
    found = trials_of(worker, sweep_id)
    assert {(job.state, job.failures, job.owner) for job in found} == {("queued", 0, None)}

    worker = replace(worker, draining=Event())
    assert run_sweep(worker, sweep_id) == alone


@pytest.mark.parametrize("how", ["it runs out", "it would run out"])
def test_a_stack_that_memory_is_too_small_for_goes_on_in_smaller_ones(
    worker: Worker, alone: Outcome, how: str
) -> None:
    sweep_id, trials = begun(worker, **LONG)
    small = worker.settings.model_copy(update={"max_training_bytes": 1})
    with pytest.MonkeyPatch.context() as patch:
        if how == "it runs out":
            patch.setattr(trainer_process, "TRAINER", "tests.support.small_trainer")
            supervise(trials[0], worker)
        else:
            supervise(trials[0], replace(worker, settings=small))
    found = trials_of(worker, sweep_id)
    assert {(job.attempt, job.failures, job.state_reason) for job in found} == {
        (1, 0, "not_chosen"),
        (2, 0, "completed"),
    }
    assert run_sweep(worker, sweep_id) == alone


def test_a_checkpoint_that_cannot_be_stored_ends_its_member_alone(worker: Worker) -> None:
    sweep_id, trials = begun(worker, rates=RATES[:3], pruner="none")
    full = FullFor(worker.settings.artifact_root, trials[1])
    supervise(trials[0], replace(worker, artifacts=full))
    first, failed, third = trials_of(worker, sweep_id)
    assert (failed.state, failed.state_reason, failed.attempt) == ("failed", "disk_full", 1)
    assert {first.state_reason, third.state_reason} == {"completed", "not_chosen"}


def test_jobs_that_were_lost_train_in_smaller_stacks(worker: Worker) -> None:
    sweep_id, trials = begun(worker)
    sizes = []
    for failures in range(4):
        with worker.database.write() as transaction:
            transaction.execute(update(jobs_table).values(failures=failures, run_after=0))
            claimed = jobs.claim_stack(
                transaction,
                trials[0],
                max_members=16,
                owner="me",
                lease_seconds=60,
                num_threads=1,
                max_attempts=9,
            )
            transaction.execute(update(jobs_table).values(state="queued", owner=None))
        sizes.append(len(claimed))
    assert sizes == [6, 4, 1, 1]
    assert get_sweep(worker, sweep_id).state == "running"


def test_a_process_ends_where_other_jobs_wait(worker: Worker) -> None:
    sweep_id, trials = begun(worker)
    other = new_job(worker, epochs=1)
    assert due(worker)[0] == other
    supervise(trials[0], worker)
    assert len(outcome(worker, sweep_id).results) == len(RATES)  # and none of the next rung
    assert due(worker)[0] == other
    assert models_of(worker, other) == []
