"""Trainers that run out of memory, for real, and the worker that lives on."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from store.database.engine import Database
from tests.faults.stand import only_in_full
from tests.support.processes import trainers_with_memory, warm_trainer_server
from tests.support.worker_examples import (
    WIDEST,
    artifacts_of,
    event_types,
    models_of,
    new_job,
    new_worker,
    run_to_end,
)
from worker.attempt import Worker

pytestmark = [pytest.mark.xdist_group("faults-processes"), pytest.mark.timeout(3600)]

Record = Callable[..., None]

MAX_ATTEMPTS = 2
MiB = 2**20

# Where memory is to run out: (what a trainer may have beyond what it starts with, its network).
PLACES: list[Any] = [
    pytest.param(2**33, WIDEST, id="the network"),
    pytest.param(1100 * MiB, {"hidden": [8192, 8192]}, id="the optimizer", marks=only_in_full),
]


@pytest.fixture
def worker(sqlite_url: str, tmp_path: Path) -> Iterator[Worker]:
    warm_trainer_server()
    with closing(Database(sqlite_url)) as database:
        yield new_worker(
            database, tmp_path / "data", database_url=sqlite_url, max_attempts=MAX_ATTEMPTS
        )


@pytest.mark.parametrize(("size_bytes", "model"), PLACES)
def test_a_job_that_memory_is_too_small_for_fails_at_the_cap_and_says_so(
    worker: Worker,
    num_runs: int,
    record_fault: Record,
    size_bytes: int,
    model: dict[str, Any],
    request: pytest.FixtureRequest,
) -> None:
    for _ in range(num_runs):
        job_id = new_job(worker, model=model)
        with trainers_with_memory(size_bytes):
            job = run_to_end(worker, job_id)
        assert (job.state, job.state_reason, job.attempt) == (
            *("failed", "out_of_memory"),
            MAX_ATTEMPTS,
        )
        assert event_types(worker, job_id)[-3:] == ["requeued", "running", "failed"]
        assert models_of(worker, job_id) == []
        assert artifacts_of(worker, job_id) == []
        assert run_to_end(worker, new_job(worker, epochs=1)).state == "succeeded"
    record_fault(
        f"trainer out of memory, {request.node.callspec.id}",
        runs=num_runs,
        outcome="failed: out_of_memory",
        worker_lives_on=True,
    )
