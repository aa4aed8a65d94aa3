"""A cancel at any moment: acknowledged, and it ends cancelled; or refused, and it succeeded."""

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from store import jobs
from store.access.keys import DEFAULT_TENANT
from store.database.engine import Database
from store.errors import IllegalTransition
from tests.faults.stand import Stand, only_in_full, writes_held
from tests.support.concurrency import at_once, transaction
from tests.support.processes import warm_trainer_server
from tests.support.waiting import wait_until
from tests.support.worker_examples import (
    LONG_EVALUATION,
    artifacts_of,
    event_types,
    get_job,
    models_of,
    new_job,
    new_worker,
    wait_for_epoch,
)
from worker.attempt import Worker
from worker.supervisor import supervise

pytestmark = [pytest.mark.xdist_group("faults-processes"), pytest.mark.timeout(3600)]

Record = Callable[..., None]

EPOCHS = 5
TRIES = 5  # for each run, because which of the two comes first is left to chance


@pytest.fixture
def worker(database: Database, database_url: str, tmp_path: Path) -> Worker:
    """A worker in this process; the test runs once on each kind of database."""
    warm_trainer_server()
    return new_worker(database, tmp_path / "data", database_url=database_url)


def cancel(database: Database, job_id: str, *, keep_model: bool = False) -> Callable[[], Any]:
    return transaction(database, jobs.cancel, job_id, tenant=DEFAULT_TENANT, keep_model=keep_model)


def outcome(worker: Worker, job_id: str, answer: Any) -> str:
    """What became of the job, which has to be what its caller was told."""
    job = get_job(worker, job_id)
    if isinstance(answer, IllegalTransition):
        assert job.state == "succeeded"
        assert len(models_of(worker, job_id)) == 1
    else:
        assert isinstance(answer, jobs.Job), answer
        assert (job.state, job.state_reason) == ("cancelled", "cancelled_by_user")
        models = models_of(worker, job_id)
        assert len(models) == (job.keep_model and job.epochs_completed > 0)
        files = {key.rpartition("/")[0] for key in artifacts_of(worker, job_id)}
        assert files == {model.artifact for model in models}
    assert sum(event in jobs.TERMINAL for event in event_types(worker, job_id)) == 1
    return job.state


def test_before_the_claim_there_is_nothing_left_to_claim(
    worker: Worker, num_runs: int, record_fault: Record
) -> None:
    for _ in range(num_runs * TRIES):
        job_id = new_job(worker, epochs=1)
        answer = cancel(worker.database, job_id)()
        supervise(job_id, worker)
        assert outcome(worker, job_id, answer) == "cancelled"
        assert get_job(worker, job_id).attempt == 0
    record_fault("cancel before the claim", runs=num_runs * TRIES, contradictions=0)


def test_during_the_claim_it_has_one_outcome(
    worker: Worker, num_runs: int, record_fault: Record
) -> None:
    seen = Counter[str]()
    for _ in range(num_runs * TRIES):
        job_id = new_job(worker, epochs=1)
        cancelling = cancel(worker.database, job_id)
        answer, claimed = at_once(cancelling, partial(supervise, job_id, worker))
        assert claimed in (True, False), claimed
        seen[outcome(worker, job_id, answer)] += 1
        seen["claimed"] += get_job(worker, job_id).attempt
    record_fault("cancel during the claim", runs=num_runs * TRIES, contradictions=0, **seen)


@pytest.mark.parametrize("first", ["cancel", "commit"])
def test_during_the_final_commit_it_has_one_outcome(
    worker: Worker, num_runs: int, record_fault: Record, first: str, chance: random.Random
) -> None:
    """Both wait for the same lock, the one that the test holds, in either order.

    The worker renews its lease rarely, so that what it waits to write is the end of the job.
    """
    settings = worker.settings.model_copy(update={"renew_seconds": 15})
    worker = replace(worker, settings=settings)
    seen = Counter(
        race_for_the_commit(worker, first, keep_model=chance.random() < 0.5)
        for _ in range(num_runs)
    )
    record_fault(
        f"cancel during the final commit, {first} first", runs=num_runs, contradictions=0, **seen
    )


def race_for_the_commit(worker: Worker, first: str, *, keep_model: bool) -> str:
    job_id = new_job(worker, **LONG_EVALUATION)
    url = worker.settings.database
    # Patient, because it may have to wait for longer than a request would.
    with closing(Database(url, no_timeout=True)) as database, ThreadPoolExecutor(2) as pool:
        cancelling = cancel(database, job_id, keep_model=keep_model)
        attempt = pool.submit(supervise, job_id, worker)
        wait_for_epoch(worker, job_id, 1)
        with writes_held(url, job_id):
            if first == "cancel":
                answer = pool.submit(cancelling)
            wait_until(lambda: has_model_files(worker, job_id), 60)
            if first == "commit":
                answer = pool.submit(cancelling)
        told = answer.exception() or answer.result()
        attempt.result(60)
    return outcome(worker, job_id, told)


def has_model_files(worker: Worker, job_id: str) -> bool:
    return f"jobs/{job_id}/1/model/model.json" in artifacts_of(worker, job_id)


@only_in_full
def test_over_http_at_any_moment_it_has_one_outcome(
    stand: Stand, num_runs: int, record_fault: Record, shape: str, chance: random.Random
) -> None:
    seen = Counter[str]()
    for _ in range(num_runs * TRIES):
        job_id = stand.client.submit(epochs=EPOCHS)
        moment = chance.randint(0, EPOCHS)
        stand.client.wait_for_epoch(job_id, moment)
        acknowledged = is_acknowledged(stand, job_id)
        job = stand.client.wait_until_over(job_id)
        assert job["state"] == ("cancelled" if acknowledged else "succeeded"), moment
        assert stand.num_models(job_id) == (0 if acknowledged else 1)
        seen[job["state"]] += 1
    record_fault(
        f"cancel at random moments, {shape}", runs=num_runs * TRIES, contradictions=0, **seen
    )


def is_acknowledged(stand: Stand, job_id: str) -> bool:
    """Ask for a cancel: 202, or 409 once it is too late."""
    try:
        stand.client.cancel(job_id)
    except httpx.HTTPStatusError as error:
        if error.response.status_code != 409:
            raise
        return False
    return True
