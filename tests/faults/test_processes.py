"""Kill -9 whatever there is to kill, at random moments in the middle of a job."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.stand import (
    LONGER_EPOCHS,
    Stand,
    kill_all_of,
    only_in_full,
    standing,
    writes_held,
)
from tests.support.databases import new_postgresql
from tests.support.processes import kill as kill_those_there
from tests.support.servers import RedisServer
from tests.support.service import scaled_out
from tests.support.waiting import wait_until
from tests.support.worker_examples import Result

pytestmark = [pytest.mark.xdist_group("faults-processes"), pytest.mark.timeout(3600)]

RECLAIM_SECONDS = 80
NUM_RECLAIMS = 3  # a minute each
LONG = {"epochs": 3000}  # it is still at it when it is killed, without checkpoints every epoch

Kill = Callable[[Stand, str], None]
Record = Callable[..., None]


def trainer(stand: Stand, job_id: str) -> None:
    stand.trainer(job_id).kill()


def supervisor(stand: Stand, job_id: str) -> None:
    stand.supervisor(job_id).kill()


def whole_worker(stand: Stand, job_id: str) -> None:
    kill_all_of(stand.supervisor(job_id))


def trainer_server(stand: Stand, _job_id: str) -> None:
    """The processes that the trainers of the next jobs were to be forked from."""
    kill_those_there(*stand.system.find("forkserver"))


def api(stand: Stand, _job_id: str) -> None:
    stand.system.find("api")[0].kill()


def dispatcher(stand: Stand, _job_id: str) -> None:
    stand.system.find("dispatcher")[0].kill()


ENDS_THE_ATTEMPT = (trainer, supervisor, whole_worker)


@pytest.mark.parametrize(
    ("stand", "kill"),
    [
        pytest.param("embedded", trainer, marks=only_in_full),
        pytest.param("embedded", supervisor, marks=only_in_full),
        pytest.param("embedded", api, marks=only_in_full),
        pytest.param("embedded", trainer_server, marks=only_in_full),
        pytest.param("embedded", whole_worker, marks=only_in_full),
        pytest.param("scaled_out", dispatcher, marks=only_in_full),
        pytest.param("scaled_out", trainer, marks=only_in_full),
        pytest.param("scaled_out", trainer_server, marks=only_in_full),
        pytest.param("scaled_out", supervisor, marks=only_in_full),
        pytest.param("scaled_out", whole_worker, marks=only_in_full),
        pytest.param("scaled_out", api, marks=only_in_full),
    ],
    indirect=["stand"],
)
def test_a_kill_changes_nothing_but_the_time(
    stand: Stand,
    kill: Kill,
    longer_uninterrupted: Result,
    num_runs: int,
    record_fault: Record,
    shape: str,
    chance: random.Random,
) -> None:
    num_same = 0
    for moment in chance.choices(range(1, LONGER_EPOCHS // 3), k=num_runs):
        job_id = stand.client.submit(epochs=LONGER_EPOCHS)
        stand.client.wait_for_epoch(job_id, moment)
        kill(stand, job_id)
        assert stand.job(job_id).finished_at is None, f"it was over before, after epoch {moment}"
        stand.system.heal()

        assert stand.client.result(job_id) == longer_uninterrupted, f"killed after epoch {moment}"
        assert stand.num_models(job_id) == 1
        if kill in ENDS_THE_ATTEMPT:
            assert stand.job(job_id).attempt >= 2
        num_same += 1
    record_fault(
        f"kill -9 {kill.__name__}, {shape}",
        runs=num_runs,
        jobs_lost=num_runs - num_same,
        same_bits=num_same,
    )


@pytest.mark.parametrize(
    "stand", [pytest.param("embedded", marks=only_in_full), "scaled_out"], indirect=True
)
def test_killed_between_artifact_and_commit_it_is_tried_again(
    stand: Stand, uninterrupted: Result, num_runs: int, record_fault: Record, shape: str
) -> None:
    for _ in range(num_runs):
        job_id, attempt = kill_before_the_commit(stand)
        stand.system.heal()

        assert stand.client.result(job_id) == uninterrupted
        last = stand.job(job_id).attempt
        assert last > attempt
        assert stand.num_models(job_id) == 1
        wait_for_orphan_to_go(stand, job_id, attempt)
        assert stand.has_model_files(job_id, last)
    record_fault(
        f"killed between artifact and commit, {shape}",
        runs=num_runs,
        jobs_lost=0,
        duplicate_models=0,
        orphans_left=0,
    )


def kill_before_the_commit(stand: Stand) -> tuple[str, int]:
    """A job whose worker is dead, and the attempt whose model lies there and does not count."""
    job_id = stand.client.submit()
    stand.client.wait_for_epoch(job_id, 1)
    attempt, supervisor = stand.job(job_id).attempt, stand.supervisor(job_id)
    url = stand.system.settings.database
    with writes_held(url, job_id):  # so that it commits nothing more, and nobody else
        supervisor.suspend()  # or it would end the trainer for want of a renewal
        wait_until(lambda: stand.has_model_files(job_id, attempt), 60)
        kill_all_of(supervisor)
    return job_id, attempt


def wait_for_orphan_to_go(stand: Stand, job_id: str, attempt: int) -> None:
    wait_until(lambda: not stand.has_model_files(job_id, attempt), 60)


@only_in_full  # it waits for leases of a minute
def test_with_the_default_settings_a_lost_job_runs_again_within_80_seconds(
    tmp_path: Path, num_runs: int, record_fault: Record
) -> None:
    num_runs = min(num_runs, NUM_RECLAIMS)
    with new_postgresql() as url, RedisServer() as redis:
        places = {"database_url": url, "redis_url": redis.url}
        one = {"concurrency": 1, "threads_per_job": 1}
        with standing(scaled_out(tmp_path / "stand", num_workers=2, **places, **one)) as stand:
            uninterrupted = stand.client.result(stand.client.submit(**LONG))
            waits = [seconds_to_reclaim(stand, uninterrupted) for _ in range(num_runs)]
    record_fault(
        "kill -9 whole worker, default settings",
        runs=num_runs,
        jobs_lost=0,
        same_bits=True,
        slowest_reclaim_seconds=round(max(waits), 1),
    )
    assert max(waits) <= RECLAIM_SECONDS


def seconds_to_reclaim(stand: Stand, uninterrupted: Result) -> float:
    """How long a job waits for its next attempt once its worker is dead."""
    job_id = stand.client.submit(**LONG)
    stand.client.wait_for_epoch(job_id, 300)
    kill_all_of(stand.supervisor(job_id))
    killed_at = time.monotonic()
    wait_until(lambda: stand.job(job_id).attempt == 2, 2 * RECLAIM_SECONDS)
    seconds = time.monotonic() - killed_at
    stand.system.heal()
    assert stand.client.result(job_id) == uninterrupted
    return seconds
