import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import update

from dropout_core.model.saved_model import WEIGHTS
from store import events, jobs
from store.access.keys import DEFAULT_TENANT
from store.database.engine import Database
from store.database.tables import datasets as datasets_table
from store.database.tables import events as events_table
from store.database.tables import jobs as jobs_table
from store.jobs import Claim, Job
from tests.support.processes import is_alive, wait_for_trainer
from tests.support.servers import PostgresServer
from tests.support.waiting import wait_until
from tests.support.worker_examples import (
    ENDLESS,
    EPOCHS,
    Result,
    artifacts_of,
    event_types,
    get_job,
    models_of,
    new_job,
    new_worker,
    put_table,
    result,
    run_to_end,
    supervising,
    table,
    wait_for_epoch,
)
from worker.attempt import Worker
from worker.supervisor import supervise
from worker.trainer_process import KILLED

REQUEUED_ONCE = ["queued", "running", "requeued", "running", "succeeded"]

# What has nothing to do with the database needs to be shown on one alone.
on_each_database = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(params=["sqlite"])
def database_url(request: pytest.FixtureRequest) -> str:
    """SQLite, unless a test asks for each: `tests/store` tests there what a worker asks for."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


# An epoch of this takes seconds: whatever is done to it once it has begun, is done within it.
SLOW_EPOCH = {
    "model": {"hidden": [2048, 2048, 2048]},
    "batch_size": 1,
    "optimizer": {"name": "sgd"},
    "epochs": 1,
}


def after_a_lost_lease(worker: Worker, job_id: str) -> Claim:
    """Another worker's claim on a job whose lease has expired."""
    with worker.database.write() as transaction:
        jobs.expire_leases(transaction, owner=worker.owner)
        job = jobs.claim(
            transaction, job_id, owner="other", lease_seconds=60, num_threads=1, max_attempts=5
        )
    assert job is not None
    return Claim(job.id, job.attempt)


def is_due(worker: Worker, job_id: str) -> bool:
    with worker.database.read() as transaction:
        return job_id in jobs.claimable(transaction, limit=1)


def has_scored_a_fold(worker: Worker, job_id: str) -> bool:
    return any("/folds/" in key for key in artifacts_of(worker, job_id))


def kill_in(worker: Worker, job_id: str, epoch: int) -> Job:
    """Run the job until its trainer is killed once it has recorded an epoch."""
    with supervising(job_id, worker):
        wait_for_epoch(worker, job_id, epoch)
        wait_for_trainer().kill()
    return get_job(worker, job_id)


@on_each_database
def test_a_job_becomes_one_model_whose_files_hold(worker: Worker, uninterrupted: Result) -> None:
    job_id = new_job(worker)
    supervise(job_id, worker)

    job = get_job(worker, job_id)
    [model] = models_of(worker, job_id)
    weights = worker.artifacts.fetch(f"{model.artifact}/{WEIGHTS}").read_bytes()
    assert (job.state, job.state_reason, job.attempt) == ("succeeded", "completed", 1)
    assert hashlib.sha256(weights).hexdigest() == model.manifest["weights_sha256"]
    assert model.size_bytes == len(weights)
    assert result(worker, job_id) == uninterrupted
    assert uninterrupted.epochs_announced == list(range(1, EPOCHS + 1))


def test_only_the_model_is_left_of_a_job_that_is_over(worker: Worker) -> None:
    job_id = new_job(worker, epochs=3)
    supervise(job_id, worker)

    files = [f"jobs/{job_id}/1/model/{name}" for name in ("model.json", "model.safetensors")]
    assert artifacts_of(worker, job_id) == files
    assert list(worker.scratch.iterdir()) == []


def test_early_stopping_is_the_reason(worker: Worker) -> None:
    stopping = {"patience": 1, "min_delta": 1e9}
    job_id = new_job(worker, early_stopping=stopping)
    supervise(job_id, worker)

    job = get_job(worker, job_id)
    assert (job.state, job.state_reason, job.epochs_completed) == ("succeeded", "early_stopped", 2)


def test_a_job_that_is_over_is_left_alone(worker: Worker) -> None:
    job_id = new_job(worker, epochs=3)
    supervise(job_id, worker)
    before = get_job(worker, job_id)
    supervise(job_id, worker)

    assert get_job(worker, job_id) == before
    assert len(models_of(worker, job_id)) == 1


def test_an_id_that_names_nothing_is_left_alone(worker: Worker) -> None:
    supervise("job_of_another_database", worker)


@on_each_database
def test_of_two_supervisors_one_runs_the_job(worker: Worker) -> None:
    job_id = new_job(worker, epochs=3)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: supervise(job_id, worker), range(2)))

    assert event_types(worker, job_id) == ["queued", "running", "succeeded"]
    assert len(models_of(worker, job_id)) == 1


def test_a_killed_trainer_costs_time_alone(worker: Worker, uninterrupted: Result) -> None:
    job_id = new_job(worker)
    job = kill_in(worker, job_id, epoch=15)
    assert (job.state, job.failures, job.owner) == ("queued", 1, None)
    assert 15 <= job.epochs_completed < EPOCHS
    assert any("checkpoints" in key for key in artifacts_of(worker, job_id))

    job = run_to_end(worker, job_id)
    assert (job.state, job.attempt, job.failures) == ("succeeded", 2, 0)
    assert event_types(worker, job_id) == REQUEUED_ONCE
    assert result(worker, job_id) == uninterrupted


def test_a_lost_attempt_says_what_ended_it(worker: Worker) -> None:
    job_id = new_job(worker, **ENDLESS)
    kill_in(worker, job_id, epoch=1)

    with worker.database.read() as transaction:
        happened = events.page(transaction, job_id, after=0, limit=100_000)
    assert happened[-1].data == {"attempt": 1, "detail": KILLED}


def test_a_job_that_always_dies_is_given_up(worker: Worker) -> None:
    worker = replace(worker, settings=worker.settings.model_copy(update={"max_attempts": 2}))
    job_id = new_job(worker, **SLOW_EPOCH)
    with supervising(job_id, worker):
        wait_for_trainer().kill()
    assert get_job(worker, job_id).state == "queued"
    wait_until(lambda: is_due(worker, job_id))
    with supervising(job_id, worker):
        wait_for_trainer().kill()

    job = get_job(worker, job_id)
    assert (job.state, job.state_reason, job.attempt) == ("failed", "worker_lost", 2)
    assert job.detail == KILLED
    assert "out of memory" in KILLED  # most often the kernel's doing, and nobody else says so
    assert artifacts_of(worker, job_id) == []


def test_a_supervisor_that_fails_hands_its_job_back_at_once(worker: Worker) -> None:
    worker.settings.data_dir.mkdir()
    worker.scratch.write_text("a file where a folder has to be")
    job_id = new_job(worker, epochs=3)
    supervise(job_id, worker)

    job = get_job(worker, job_id)
    assert (job.state, job.failures, job.owner) == ("queued", 1, None)
    with worker.database.read() as transaction:
        happened = events.page(transaction, job_id, after=0, limit=100)
    assert happened[-1].data["detail"] == "the supervisor failed: FileExistsError"
    worker.scratch.unlink()
    assert run_to_end(worker, job_id).state == "succeeded"


def test_files_that_cannot_be_deleted_change_nothing(worker: Worker, tmp_path: Path) -> None:
    job_id = new_job(worker, epochs=3)
    stray = worker.settings.artifact_root / "jobs" / job_id / "0" / "stray"
    stray.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").touch()
    stray.symlink_to(tmp_path / "elsewhere")  # which an artifact store refuses to touch
    supervise(job_id, worker)

    assert get_job(worker, job_id).state == "succeeded"
    assert len(models_of(worker, job_id)) == 1
    assert stray.is_symlink()


def test_a_scored_fold_forgives_earlier_failures(worker: Worker) -> None:
    worker = replace(worker, settings=worker.settings.model_copy(update={"max_attempts": 2}))
    job_id = new_job(worker, epochs=60, split={"folds": 6})
    for _ in range(2):
        with supervising(job_id, worker):
            wait_until(lambda: has_scored_a_fold(worker, job_id), 60)
            wait_until(lambda: get_job(worker, job_id).failures == 0, 60)
            wait_for_trainer().kill()
        wait_until(lambda: is_due(worker, job_id))

    assert run_to_end(worker, job_id).attempt == 3
    assert event_types(worker, job_id).count("requeued") == 2


def test_draining_hands_the_job_on_uncharged(worker: Worker, uninterrupted: Result) -> None:
    job_id = new_job(worker)
    with supervising(job_id, worker):
        wait_for_epoch(worker, job_id, 15)
        worker.draining.set()
    job = get_job(worker, job_id)
    assert (job.state, job.failures, job.owner) == ("queued", 0, None)

    job = run_to_end(replace(worker, draining=Event()), job_id)
    assert (job.state, job.attempt) == ("succeeded", 2)
    assert result(worker, job_id) == uninterrupted


def test_a_paused_job_holds_no_worker_and_goes_on_where_it_was(
    worker: Worker, uninterrupted: Result
) -> None:
    job_id = new_job(worker)
    with supervising(job_id, worker) as attempt:
        wait_for_epoch(worker, job_id, 10)
        with worker.database.write() as transaction:
            jobs.pause(transaction, job_id, tenant=DEFAULT_TENANT)
        wait_until(attempt.done, 10)
    job = get_job(worker, job_id)
    assert (job.state, job.state_reason, job.owner, job.failures) == ("paused", "user", None, 0)
    supervise(job_id, worker)
    assert get_job(worker, job_id) == job

    with worker.database.write() as transaction:
        jobs.resume(transaction, job_id, tenant=DEFAULT_TENANT)
    assert run_to_end(worker, job_id).attempt == 2
    assert event_types(worker, job_id) == [
        *("queued", "running", "paused"),
        *("queued", "running", "succeeded"),
    ]
    assert result(worker, job_id) == uninterrupted


def test_a_draining_worker_claims_nothing(worker: Worker) -> None:
    job_id = new_job(worker)
    worker.draining.set()
    supervise(job_id, worker)

    assert get_job(worker, job_id).attempt == 0


def test_a_trainer_that_does_not_stop_is_left_behind_in_time(worker: Worker) -> None:
    worker = replace(worker, settings=worker.settings.model_copy(update={"grace_seconds": 0.1}))
    job_id = new_job(worker, **ENDLESS)
    with supervising(job_id, worker) as attempt:
        wait_for_epoch(worker, job_id, 1)
        trainer = wait_for_trainer()
        trainer.suspend()
        worker.draining.set()
        wait_until(attempt.done)

    job = get_job(worker, job_id)
    assert (job.state, job.failures) == ("queued", 0)
    assert not is_alive(trainer)


@on_each_database
def test_a_cancel_stops_a_job_soon_and_leaves_no_files(worker: Worker) -> None:
    job_id = new_job(worker, **ENDLESS)
    with supervising(job_id, worker) as attempt:
        wait_for_epoch(worker, job_id, 3)
        assert artifacts_of(worker, job_id) != []
        with worker.database.write() as transaction:
            jobs.cancel(transaction, job_id, tenant=DEFAULT_TENANT)
        wait_until(attempt.done, 5)

    job = get_job(worker, job_id)
    assert (job.state, job.state_reason) == ("cancelled", "cancelled_by_user")
    assert event_types(worker, job_id) == ["queued", "running", "cancelling", "cancelled"]
    assert artifacts_of(worker, job_id) == []
    assert models_of(worker, job_id) == []


def cancel_and_keep(worker: Worker, job_id: str) -> None:
    with worker.database.write() as transaction:
        jobs.cancel(transaction, job_id, tenant=DEFAULT_TENANT, keep_model=True)


@on_each_database
def test_a_cancelled_job_may_keep_what_it_has_learnt(worker: Worker) -> None:
    job_id = new_job(worker, **ENDLESS)
    with supervising(job_id, worker) as attempt:
        wait_for_epoch(worker, job_id, 3)
        cancel_and_keep(worker, job_id)
        wait_until(attempt.done)

    job = get_job(worker, job_id)
    assert (job.state, job.state_reason) == ("cancelled", "cancelled_by_user")
    [model] = models_of(worker, job_id)
    files = [f"{model.artifact}/{name}" for name in ("model.json", "model.safetensors")]
    assert artifacts_of(worker, job_id) == files
    assert result(worker, job_id).epochs_announced == list(range(1, job.epochs_completed + 1))
    assert event_types(worker, job_id)[-1] == "cancelled"


@pytest.mark.parametrize("how", ["killed", "too slow"])
def test_a_cancelled_job_whose_trainer_saves_nothing_has_no_model(worker: Worker, how: str) -> None:
    if how == "too slow":
        settings = worker.settings.model_copy(update={"finish_seconds": 0.5})
        worker = replace(worker, settings=settings)
    job_id = new_job(worker, **ENDLESS)
    with supervising(job_id, worker) as attempt:
        wait_for_epoch(worker, job_id, 1)
        trainer = wait_for_trainer()
        trainer.suspend()
        cancel_and_keep(worker, job_id)
        if how == "killed":
            trainer.kill()
        wait_until(attempt.done)

    assert get_job(worker, job_id).state == "cancelled"
    assert models_of(worker, job_id) == artifacts_of(worker, job_id) == []


def test_a_cancel_does_not_wait_for_the_epoch(worker: Worker) -> None:
    job_id = new_job(worker, **SLOW_EPOCH)
    with supervising(job_id, worker) as attempt:
        wait_for_trainer()
        with worker.database.write() as transaction:
            jobs.cancel(transaction, job_id, tenant=DEFAULT_TENANT)
        wait_until(attempt.done, 5)

    job = get_job(worker, job_id)
    assert (job.state, job.epochs_completed) == ("cancelled", 0)


def test_a_job_whose_time_is_over_keeps_what_it_has_learnt(worker: Worker) -> None:
    for seconds in (2, 10, 30):  # on a busy machine the first epoch may come after the first time
        job_id = new_job(worker, **{**ENDLESS, "max_runtime_seconds": seconds})
        supervise(job_id, worker)
        job = get_job(worker, job_id)
        if job.epochs_completed:
            break

    assert (job.state, job.state_reason) == ("succeeded", "max_runtime_exceeded")
    assert 0 < job.epochs_completed < ENDLESS["epochs"]
    assert result(worker, job_id).epochs_announced == list(range(1, job.epochs_completed + 1))


def test_the_time_of_a_job_stands_still_while_it_is_paused(worker: Worker) -> None:
    job_id = new_job(worker, max_runtime_seconds=600)
    with worker.database.write() as transaction:
        job = jobs.claim(
            transaction, job_id, owner="me", lease_seconds=60, num_threads=1, max_attempts=3
        )
        assert job is not None
        jobs.pause(transaction, job_id, tenant=DEFAULT_TENANT)
        assert jobs.release(transaction, Claim(job_id, job.attempt)).state == "paused"
        # An hour ago, that is.
        before = {"created_at": events_table.c.created_at - 3600}
        transaction.execute(update(events_table).values(before))
        transaction.execute(update(jobs_table).values(started_at=jobs_table.c.started_at - 3600))
        jobs.resume(transaction, job_id, tenant=DEFAULT_TENANT)
    assert run_to_end(worker, job_id).state_reason == "completed"


def test_a_job_whose_time_is_over_before_an_epoch_is_has_failed(worker: Worker) -> None:
    job_id = new_job(worker, **SLOW_EPOCH, max_runtime_seconds=0.001)
    supervise(job_id, worker)

    job = get_job(worker, job_id)
    assert (job.state, job.state_reason) == ("failed", "max_runtime_exceeded")


def test_a_loss_that_is_no_number_has_diverged(worker: Worker) -> None:
    job_id = new_job(worker, optimizer={"name": "sgd", "lr": 1e30})
    supervise(job_id, worker)

    job = get_job(worker, job_id)
    assert (job.state, job.state_reason) == ("failed", "diverged")
    assert re.fullmatch(r"the loss became (inf|nan) in epoch \d+", job.detail or "")
    assert artifacts_of(worker, job_id) == []


def test_a_table_without_the_target_is_invalid_data(worker: Worker) -> None:
    job_id = new_job(worker)
    put_table(worker, "datasets/other.parquet", table().drop("label"))
    with worker.database.write() as transaction:
        transaction.execute(update(datasets_table).values(artifact="datasets/other.parquet"))
    supervise(job_id, worker)

    job = get_job(worker, job_id)
    assert (job.state, job.state_reason, job.attempt) == ("failed", "invalid_data", 1)
    assert job.detail == "column 'label': the data has no such column"


def test_a_dataset_that_is_gone_is_invalid_data(worker: Worker) -> None:
    job_id = new_job(worker)
    with worker.database.write() as transaction:
        transaction.execute(update(jobs_table).values(dataset_id="ds_gone"))
    supervise(job_id, worker)

    job = get_job(worker, job_id)
    assert (job.state, job.state_reason) == ("failed", "invalid_data")
    assert job.detail == "there is no dataset 'ds_gone'"


@on_each_database
def test_a_lost_lease_ends_the_trainer_and_its_word(worker: Worker, uninterrupted: Result) -> None:
    job_id = new_job(worker)
    with supervising(job_id, worker) as attempt:
        wait_for_epoch(worker, job_id, 5)
        trainer = wait_for_trainer()
        claim = after_a_lost_lease(worker, job_id)
        taken_over = get_job(worker, job_id)
        wait_until(attempt.done)
    assert not is_alive(trainer)
    assert get_job(worker, job_id) == taken_over
    assert models_of(worker, job_id) == []

    with worker.database.write() as transaction:
        jobs.release(transaction, claim)
    assert run_to_end(worker, job_id).attempt == 3
    assert result(worker, job_id) == uninterrupted


def test_a_job_that_another_has_ended_is_let_go_even_when_deleted(
    database: Database, tmp_path: Path
) -> None:
    worker = new_worker(database, tmp_path, renew_seconds=15)  # it finds out by looking alone
    job_id = new_job(worker, **SLOW_EPOCH)
    with supervising(job_id, worker):
        trainer = wait_for_trainer()
        claim = after_a_lost_lease(worker, job_id)
        with worker.database.write() as transaction:
            jobs.fail(transaction, claim, reason="diverged", detail="elsewhere")
            jobs.remove(transaction, job_id, tenant=DEFAULT_TENANT)
    assert not is_alive(trainer)


def test_a_damaged_checkpoint_is_passed_over(worker: Worker, uninterrupted: Result) -> None:
    job_id = new_job(worker)
    kill_in(worker, job_id, epoch=15)
    newest = worker.artifacts.fetch(artifacts_of(worker, job_id)[-1])
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)

    assert run_to_end(worker, job_id).state == "succeeded"
    assert result(worker, job_id) == uninterrupted


def num_computing_threads(pid: int) -> int:
    """Count the threads of Python and torch: Polars gives names to its own, which come and go."""
    names = []
    for path in Path(f"/proc/{pid}/task").glob("*/comm"):
        with suppress(OSError):  # it has just ended
            names.append(path.read_text())
    return names.count(Path(f"/proc/{pid}/comm").read_text())


def test_every_attempt_has_the_threads_of_the_first(worker: Worker) -> None:
    job_id = new_job(worker, **{**ENDLESS, "batch_size": 160}, model={"hidden": [512, 512]})
    wider = worker.settings.model_copy(update={"threads_per_job": 4})
    num_threads = []
    for attempt, settings in enumerate([worker.settings, wider]):
        with supervising(job_id, replace(worker, settings=settings)):
            wait_for_epoch(worker, job_id, 3 * (attempt + 1))
            trainer = wait_for_trainer()
            num_threads.append(num_computing_threads(trainer.pid))
            trainer.kill()
        wait_until(lambda: is_due(worker, job_id))

    assert get_job(worker, job_id).num_threads == 1
    assert num_threads[0] == num_threads[1]


def test_a_database_may_go_and_come_back(
    own_postgresql: PostgresServer, tmp_path: Path, uninterrupted: Result
) -> None:
    with closing(Database(own_postgresql.url)) as database:
        database.migrate()
        worker = new_worker(database, tmp_path)
        job_id = new_job(worker)
        with supervising(job_id, worker):
            wait_for_epoch(worker, job_id, 15)
            own_postgresql.stop()
            own_postgresql.start()
        job = get_job(worker, job_id)

        assert (job.state, job.attempt) == ("succeeded", 1)
        assert result(worker, job_id) == uninterrupted


def test_a_database_that_stays_away_ends_the_trainer(
    own_postgresql: PostgresServer, tmp_path: Path, uninterrupted: Result
) -> None:
    with closing(Database(own_postgresql.url)) as database:
        database.migrate()
        worker = new_worker(database, tmp_path, fence_seconds=1, lease_seconds=1.5)
        job_id = new_job(worker)
        with supervising(job_id, worker) as attempt:
            wait_for_epoch(worker, job_id, 15)
            trainer = wait_for_trainer()
            trainer.suspend()  # or it would be done before
            own_postgresql.stop()
            wait_until(attempt.done)
        own_postgresql.start()
        assert not is_alive(trainer)
        failed = "dropout_lease_renewals_failed_total"
        assert (worker.instruments.registry.get_sample_value(failed) or 0) > 0

        assert run_to_end(worker, job_id).attempt == 2
        assert result(worker, job_id) == uninterrupted
