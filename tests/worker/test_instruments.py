import socket
from pathlib import Path

import httpx
import pytest

from store import jobs
from store.settings import Settings
from tests.support.metrics import samples_of, value
from tests.support.ports import free_port
from tests.support.processes import wait_for_trainer
from tests.support.worker_examples import ENDLESS, new_job, supervising, wait_for_epoch
from worker.attempt import Worker
from worker.instruments import Instruments
from worker.supervisor import reap, supervise

# What is counted does not depend on the kind of database.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def counted(worker: Worker, name: str, **labels: str) -> float:
    return worker.instruments.registry.get_sample_value(name, labels) or 0


def lose_leases(worker: Worker) -> None:
    with worker.database.write() as transaction:
        jobs.expire_leases(transaction, owner=worker.owner)


def test_attempts_are_counted_by_how_they_ended(worker: Worker) -> None:
    supervise(new_job(worker, epochs=3), worker)
    supervise(new_job(worker, epochs=3, early_stopping={"patience": 1, "min_delta": 1e9}), worker)
    cancelled = new_job(worker, **ENDLESS)
    with supervising(cancelled, worker):
        wait_for_epoch(worker, cancelled, 1)
        with worker.database.write() as transaction:
            jobs.cancel(transaction, cancelled, tenant="default")
    released = new_job(worker, **ENDLESS)
    with supervising(released, worker):
        wait_for_epoch(worker, released, 1)
        worker.draining.set()

    endings = {
        ("succeeded", "completed"): 1,
        ("succeeded", "early_stopped"): 1,
        ("cancelled", "cancelled_by_user"): 1,
        ("queued", "released"): 1,
    }
    name = "dropout_attempts_total"
    assert {e: counted(worker, name, outcome=e[0], reason=e[1]) for e in endings} == endings


def test_a_killed_trainer_is_counted_once(worker: Worker) -> None:
    job_id = new_job(worker, **ENDLESS)
    with supervising(job_id, worker):
        wait_for_epoch(worker, job_id, 1)
        wait_for_trainer().kill()

    labels = {"outcome": "queued", "reason": "worker_lost"}
    assert counted(worker, "dropout_attempts_total", **labels) == 1
    assert counted(worker, "dropout_trainer_deaths_total", cause="SIGKILL") == 1


def test_checkpoints_are_timed(worker: Worker) -> None:
    supervise(new_job(worker, epochs=3), worker)

    assert counted(worker, "dropout_checkpoint_duration_seconds_count") >= 3
    assert counted(worker, "dropout_checkpoint_duration_seconds_sum") > 0


def test_a_stale_write_that_is_refused_is_counted(worker: Worker, tmp_path: Path) -> None:
    job_id = new_job(worker, **ENDLESS)
    with supervising(job_id, worker):
        wait_for_epoch(worker, job_id, 1)
        wait_for_trainer().suspend()  # so that the next write is a renewal
        lose_leases(worker)
        with worker.database.write() as transaction:
            options = {"lease_seconds": 60.0, "num_threads": 1, "max_attempts": 5}
            assert jobs.claim(transaction, job_id, owner="other", **options)  # type: ignore[arg-type]

    assert counted(worker, "dropout_stale_writes_refused_total") == 1
    labels = {"outcome": "lost", "reason": "lease_lost"}
    assert counted(worker, "dropout_attempts_total", **labels) == 1


def test_leases_that_are_taken_back_are_counted(worker: Worker) -> None:
    for _ in range(2):
        job_id = new_job(worker)
        with worker.database.write() as transaction:
            jobs.claim(
                transaction,
                job_id,
                owner=worker.owner,
                lease_seconds=60,
                num_threads=1,
                max_attempts=5,
            )
    for _ in range(2):  # the second finds none
        lose_leases(worker)
        reap(worker)

    assert counted(worker, "dropout_leases_reaped_total", state="queued") == 2


def test_a_scaled_out_worker_answers_on_loopback(database_url: str) -> None:
    port = free_port()
    instruments = Instruments()
    instruments.listen(Settings(worker_metrics_port=port))
    instruments.failed_renewals.inc()

    samples = samples_of(httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text)
    assert value(samples, "dropout_lease_renewals_failed_total") == 1
    assert value(samples, "process_resident_memory_bytes") > 0
    with socket.socket() as other:  # still free on every other address of this machine
        other.bind(("127.0.0.2", port))


def test_without_a_port_nothing_listens(database_url: str) -> None:
    instruments = Instruments()
    instruments.listen(Settings())
    assert instruments.registry.get_sample_value("process_resident_memory_bytes") is None
