"""Machines whose clocks are an hour off: a lease is what the database's clock says it is."""

import importlib.util
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from pathlib import Path

import psutil
import pytest

from store import jobs
from store.database.engine import Database
from tests.faults.stand import only_in_full
from tests.support.processes import COMMAND, running, wait_for_trainer
from tests.support.waiting import wait_until
from tests.support.worker_examples import (
    SHORT_LEASES,
    Result,
    get_job,
    new_job,
    new_worker,
    result,
)
from worker.attempt import Worker


def _library() -> Path | None:
    spec = importlib.util.find_spec("libfaketime")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "vendor" / "libfaketime" / "src"
    return next(folder.glob("libfaketime.so.1"), None)


LIBFAKETIME = _library()

pytestmark = [
    pytest.mark.xdist_group("faults-processes"),
    pytest.mark.timeout(3600),
    pytest.mark.skipif(LIBFAKETIME is None, reason="there is no libfaketime for this platform"),
]

HOUR = {"+1h": 3600, "-1h": -3600}
LEASE_SECONDS = SHORT_LEASES["lease_seconds"]
VALID_SECONDS = 1800


@pytest.fixture
def worker(postgresql_url: str, redis_url: str, tmp_path: Path) -> Iterator[Worker]:
    """A worker in this process, whose clock is right."""
    with closing(Database(postgresql_url)) as database:
        places = {"database_url": postgresql_url, "redis_url": redis_url}
        # No lease lasts longer than the settings say.
        leases = {**SHORT_LEASES, "lease_seconds": VALID_SECONDS}
        yield new_worker(database, tmp_path / "data", **leases, **places)


@contextmanager
def elsewhere(worker: Worker, *roles: str, offset: str) -> Iterator[list[psutil.Process]]:
    """A machine of the same service with its clock so far off: a process for each role."""
    environment = {
        "LD_PRELOAD": str(LIBFAKETIME),
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    worker.settings.data_dir.mkdir(exist_ok=True)
    given = worker.settings.as_environment() | environment
    with ExitStack() as stack:
        yield [
            psutil.Process(
                stack.enter_context(
                    running([*COMMAND, role], given, log=worker.settings.data_dir / f"log-{role}")
                ).pid
            )
            for role in roles
        ]


def new_claimed_job(worker: Worker, *, lease_seconds: float) -> str:
    """A job that a worker has claimed which will not renew its lease."""
    job_id = new_job(worker)
    with worker.database.write() as transaction:
        jobs.claim(
            transaction,
            job_id,
            owner="gone",
            lease_seconds=lease_seconds,
            num_threads=1,
            max_attempts=5,
        )
    return job_id


@only_in_full
@pytest.mark.parametrize("offset", HOUR)
def test_a_lease_ends_when_the_databases_clock_says_so(
    worker: Worker,
    uninterrupted: Result,
    num_runs: int,
    record_fault: Callable[..., None],
    offset: str,
) -> None:
    valid = [new_claimed_job(worker, lease_seconds=VALID_SECONDS) for _ in range(num_runs)]
    over = [new_claimed_job(worker, lease_seconds=LEASE_SECONDS) for _ in range(num_runs)]
    with elsewhere(worker, "dispatch", "worker", offset=offset) as (_dispatcher, other):
        # It takes back what is over, and keeps what it renews, for longer than a lease is.
        trainer = wait_for_trainer(other.pid)
        trainer.suspend()
        [running_id] = [job_id for job_id in over if get_job(worker, job_id).state == "running"]
        lease_at = get_job(worker, running_id).lease_expires_at or 0
        wait_until(lambda: renewed_since(worker, running_id, lease_at + LEASE_SECONDS), 60)
        trainer.resume()
        for job_id in over:
            wait_until(lambda: get_job(worker, job_id).state == "succeeded", 60)  # noqa: B023
            assert result(worker, job_id) == uninterrupted
            assert get_job(worker, job_id).attempt == 2
        assert abs(logged_at(worker) - time.time() - HOUR[offset]) < HOUR["+1h"] / 2
        early = [job_id for job_id in valid if get_job(worker, job_id).attempt != 1]
    assert early == []
    record_fault(f"clock {offset} off", runs=num_runs, early_reclaims=0, late_reclaims=0)


def logged_at(worker: Worker) -> float:
    """When the worker elsewhere says that it wrote the last line of its log."""
    lines = (worker.settings.data_dir / "log-worker").read_text().splitlines()
    return datetime.fromisoformat(json.loads(lines[-1])["timestamp"]).timestamp()


def renewed_since(worker: Worker, job_id: str, moment: float) -> bool:
    return (get_job(worker, job_id).lease_expires_at or 0) > moment
