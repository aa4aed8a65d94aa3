import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from json import JSONDecodeError
from threading import Event
from typing import Any

import pytest
from sqlalchemy import text

from store import jobs
from store.access.keys import DEFAULT_TENANT
from tests.support.processes import below, is_alive, python, running, trainers
from tests.support.waiting import wait_until
from tests.support.worker_examples import (
    ENDLESS,
    Result,
    get_job,
    new_dataset,
    new_job,
    put_left_over,
    result,
    run_to_end,
    wait_for_epoch,
)
from worker.attempt import Worker
from worker.embedded import local

# The embedded service keeps its records in SQLite.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@contextmanager
def as_process(worker: Worker, *flags: str, **changed: Any) -> Iterator[subprocess.Popen[str]]:
    """The embedded worker as a process, on the data of the one given."""
    settings = worker.settings.model_copy(update={"concurrency": 1, **changed})
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    command = python("-m", "worker", "local", *flags)
    with running(command, settings, log=settings.data_dir / "log") as process:
        yield process


@contextmanager
def in_thread(worker: Worker, **changed: Any) -> Iterator[None]:
    """The embedded worker in this process, where it starts sooner."""
    settings = worker.settings.model_copy(update={"concurrency": 1, **changed})
    embedded = replace(worker, settings=settings, owner=local.OWNER, draining=Event())
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(local.run, embedded)
        try:
            yield
        finally:
            embedded.draining.set()
        ended.result(60)


def wait_for_state(worker: Worker, job_id: str, state: str) -> None:
    wait_until(lambda: get_job(worker, job_id).state == state, 60)


def test_jobs_run_one_after_the_other(worker: Worker, uninterrupted: Result) -> None:
    first, second = new_job(worker), new_job(worker, epochs=3)
    with in_thread(worker):
        wait_for_state(worker, second, "succeeded")

    finished_at, started_at = get_job(worker, first).finished_at, get_job(worker, second).started_at
    assert finished_at is not None
    assert started_at is not None
    assert finished_at < started_at
    assert result(worker, first) == uninterrupted


def test_cancelling_frees_its_place(worker: Worker) -> None:
    first, second = new_job(worker, **ENDLESS), new_job(worker, epochs=3)
    with in_thread(worker):
        wait_for_epoch(worker, first, 1)
        with worker.database.write() as transaction:
            jobs.cancel(transaction, first, tenant=DEFAULT_TENANT)
        wait_for_state(worker, second, "succeeded")

    assert get_job(worker, first).state == "cancelled"


def test_a_job_that_cannot_be_started_does_not_end_the_worker(worker: Worker) -> None:
    worker.settings.data_dir.mkdir()
    worker.scratch.write_text("a file where a folder has to be")
    job_id = new_job(worker, epochs=3)
    with in_thread(worker):
        wait_until(lambda: get_job(worker, job_id).failures > 0, 30)
        worker.scratch.unlink()
        wait_for_state(worker, job_id, "succeeded")


def test_a_worker_that_fails_hands_its_jobs_back(worker: Worker) -> None:
    job_id = new_job(worker, **ENDLESS)

    def run_beside_a_spoilt_row() -> None:
        with in_thread(worker, concurrency=2):
            wait_for_epoch(worker, job_id, 1)
            spoilt = new_job(worker)
            with worker.database.write() as transaction:
                transaction.execute(text(f"UPDATE jobs SET spec = '{{' WHERE id = '{spoilt}'"))
            wait_for_state(worker, job_id, "queued")

    with pytest.raises(JSONDecodeError):
        run_beside_a_spoilt_row()
    assert get_job(worker, job_id).failures == 0


def test_what_nobody_needs_is_deleted(worker: Worker) -> None:
    new_dataset(worker)
    put_left_over(worker.artifacts, worker.settings.data_dir)
    with in_thread(worker):
        wait_until(lambda: worker.artifacts.list("jobs") == [], 30)


def test_a_second_worker_on_the_same_data_says_so_in_one_line(worker: Worker) -> None:
    job_id = new_job(worker, epochs=3)
    with in_thread(worker):
        wait_for_state(worker, job_id, "succeeded")
        second = subprocess.run(
            python("-m", "worker", "local"),
            env=worker.settings.as_environment(),
            capture_output=True,
            text=True,
        )

    assert second.returncode == 1
    assert second.stderr == f"error: another process serves {worker.settings.data_dir}\n"
    assert second.stdout == ""


def test_killed_it_takes_its_trainers_along_and_the_next_goes_on_at_once(
    worker: Worker, uninterrupted: Result
) -> None:
    job_ids = [new_job(worker), new_job(worker)]
    with as_process(worker, concurrency=2, lease_seconds=3600) as process:
        for job_id in job_ids:
            wait_for_epoch(worker, job_id, 10)
        assert len(trainers(process.pid)) == 2
        started = below(process.pid)
        process.kill()
        wait_until(lambda: not any(is_alive(other) for other in started))
    with in_thread(worker):
        for job_id in job_ids:
            wait_for_state(worker, job_id, "succeeded")

    assert [get_job(worker, job_id).attempt for job_id in job_ids] == [2, 2]
    assert [result(worker, job_id) for job_id in job_ids] == [uninterrupted, uninterrupted]


def send_sigterm(process: subprocess.Popen[str]) -> None:
    process.terminate()


def end_with_parent(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()


@pytest.mark.parametrize("ask_to_stop", [send_sigterm, end_with_parent])
def test_asked_to_stop_it_hands_its_job_back(
    worker: Worker,
    uninterrupted: Result,
    ask_to_stop: Callable[[subprocess.Popen[str]], None],
) -> None:
    job_id = new_job(worker)
    with as_process(worker, "--with-parent") as process:
        wait_for_epoch(worker, job_id, 10)
        ask_to_stop(process)
        assert process.wait(worker.settings.grace_seconds) == 0
    job = get_job(worker, job_id)
    assert (job.state, job.failures) == ("queued", 0)

    assert run_to_end(worker, job_id).attempt == 2
    assert result(worker, job_id) == uninterrupted
