"""SIGTERM at any time of a training: what is done is kept, uncharged, and the exit is in time."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from dropout_core.training.checkpoint import position
from store.database.engine import Database
from tests.faults.stand import LONGER_EPOCHS, Stand, only_in_full, standing
from tests.support.databases import new_postgresql
from tests.support.processes import warm_trainer_server
from tests.support.servers import RedisServer
from tests.support.service import scaled_out
from tests.support.waiting import wait_until
from tests.support.worker_examples import (
    LONG_EVALUATION,
    SWIFT,
    Result,
    artifacts_of,
    get_job,
    models_of,
    new_job,
    new_worker,
    result,
    run_to_end,
    supervising,
    wait_for_epoch,
)
from worker.attempt import Worker

pytestmark = [pytest.mark.xdist_group("faults-processes"), pytest.mark.timeout(3600)]

Record = Callable[..., None]

LONG_EPOCHS: dict[str, Any] = {"model": {"hidden": [512, 512]}, "batch_size": 1, "epochs": 30}
FOLDS: dict[str, Any] = {"split": {"folds": 4}, "epochs": 30}


@pytest.fixture
def worker(sqlite_url: str, tmp_path: Path) -> Iterator[Worker]:
    warm_trainer_server()
    with closing(Database(sqlite_url)) as database:
        # Seldom, so that hardly any moment of an epoch is one of a checkpoint.
        settings = {"database_url": sqlite_url, "checkpoint_seconds": 3600}
        yield new_worker(database, tmp_path / "data", **settings)


def within_an_epoch(worker: Worker, job_id: str) -> None:
    wait_for_epoch(worker, job_id, 1)


def between_folds(worker: Worker, job_id: str) -> None:
    wait_until(lambda: any("/folds/" in key for key in artifacts_of(worker, job_id)), 60)


def at_the_final_evaluation(worker: Worker, job_id: str) -> None:
    wait_for_epoch(worker, job_id, LONG_EVALUATION["epochs"])


@pytest.mark.parametrize(
    ("moment", "job"),
    [
        pytest.param(within_an_epoch, LONG_EPOCHS, marks=only_in_full),
        pytest.param(between_folds, FOLDS, marks=only_in_full),
        pytest.param(at_the_final_evaluation, LONG_EVALUATION, marks=only_in_full),
    ],
)
def test_a_worker_that_drains_keeps_what_is_done(
    worker: Worker,
    num_runs: int,
    record_fault: Record,
    moment: Callable[[Worker, str], None],
    job: dict[str, Any],
) -> None:
    uninterrupted = new_job(worker, **job)
    run_to_end(worker, uninterrupted)
    waits, num_handed_on = [], 0
    for _ in range(num_runs):
        job_id = new_job(worker, **job)
        draining = replace(worker, draining=Event())
        with supervising(job_id, draining) as attempt:
            moment(draining, job_id)
            draining.draining.set()
            asked_at = time.monotonic()
            wait_until(attempt.done, 60)
            waits.append(time.monotonic() - asked_at)
        stopped = get_job(worker, job_id)
        if stopped.state == "queued":  # else it was so near its end that it came to it
            num_handed_on += 1
            assert (stopped.failures, stopped.owner) == (0, None)
            if moment is within_an_epoch:
                assert any(num_batches > 0 for num_batches in batches_kept(worker, job_id))

        run_to_end(worker, job_id)
        assert len(models_of(worker, job_id)) == 1
        assert result(worker, job_id) == result(worker, uninterrupted)
    record_fault(
        f"SIGTERM {moment.__name__}",
        runs=num_runs,
        handed_on_uncharged=num_handed_on,
        same_bits=num_runs,
        slowest_exit_seconds=round(max(waits), 1),
    )
    assert max(waits) < worker.settings.grace_seconds
    assert num_handed_on == num_runs or moment is at_the_final_evaluation


def batches_kept(worker: Worker, job_id: str) -> list[int]:
    """How far into its epoch each checkpoint is."""
    positions = [position(Path(key).name) for key in artifacts_of(worker, job_id)]
    return [where[1] for where in positions if where is not None]


@pytest.fixture
def patient_stand(tmp_path: Path) -> Iterator[Stand]:
    """API, dispatcher and two workers, none of which loses a lease to a machine that is slow."""
    with new_postgresql() as url, RedisServer() as redis:
        settings = {**SWIFT, "concurrency": 1, "database_url": url, "redis_url": redis.url}
        with standing(scaled_out(tmp_path / "stand", num_workers=2, **settings)) as stand:
            yield stand


@only_in_full
def test_sigterm_ends_the_process_in_time_with_exit_code_0(
    patient_stand: Stand, longer_uninterrupted: Result, num_runs: int, record_fault: Record
) -> None:
    stand, waits = patient_stand, []
    for _ in range(num_runs):
        job_id = stand.client.submit(epochs=LONGER_EPOCHS)
        stand.client.wait_for_epoch(job_id, 10)
        supervisor = stand.supervisor(job_id)
        asked_at = time.monotonic()
        supervisor.send_signal(signal.SIGTERM)
        assert supervisor.wait(stand.system.settings.grace_seconds) == 0
        waits.append(time.monotonic() - asked_at)

        assert stand.client.result(job_id) == longer_uninterrupted
        assert stand.job(job_id).attempt == 2
        [requeued] = [event for event in stand.client.events(job_id) if event["type"] == "requeued"]
        assert "detail" not in requeued["data"]  # only a lost attempt has something to tell
        stand.system.heal()
    record_fault(
        "SIGTERM to a worker, scaled out",
        runs=num_runs,
        same_bits=len(waits),
        slowest_exit_seconds=round(max(waits), 1),
    )
