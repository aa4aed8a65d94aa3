"""What a database that fails may cost: time, and nothing else."""

import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from store import jobs
from store.database.engine import Database
from store.database.postgresql import ANSWER_SECONDS
from store.settings import Settings
from tests.faults.stand import (
    LONGER_EPOCHS,
    five_minutes_a_run,
    job_on,
    only_in_full,
    wait_out,
)
from tests.support.client import JOB_SECONDS, OVER, Client
from tests.support.processes import COMMAND, is_alive, wait_for_trainer
from tests.support.servers import DurablePostgresServer, RedisServer
from tests.support.service import Service, embedded, scaled_out
from tests.support.waiting import wait_until
from tests.support.worker_examples import ENDLESS, SHORT_LEASES, SWIFT, Result

pytestmark = [pytest.mark.xdist_group("faults-databases"), five_minutes_a_run]

# What a request may take whose database hangs: to notice it, and to fail to connect anew. More than
# that where this machine has other things to do.
REQUEST_SECONDS = 15 + 15
PROBE_SECONDS = 3 + 7
NUM_WRITERS = 8
LONG_EPOCHS = 6000  # more than a minute's
LONG_SECONDS = 900
# More than a busy machine keeps a supervisor from its renewal, and less than an answer may take.
LEASES = {"lease_seconds": 6, "fence_seconds": 5}
NUM_WAITING = 60  # requests, which are more than the API has threads


@pytest.fixture(scope="module")
def postgresql() -> Iterator[DurablePostgresServer]:
    with DurablePostgresServer() as server:
        yield server


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, postgresql: DurablePostgresServer
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("databases")
    with RedisServer() as redis, at(folder, postgresql, redis, **LEASES) as service:
        yield service


def at(
    folder: Path, postgresql: DurablePostgresServer, redis: RedisServer, **settings: Any
) -> Service:
    servers = {"database_url": postgresql.url, "redis_url": redis.url}
    return scaled_out(folder, **{**SHORT_LEASES, **settings, **servers})


@pytest.fixture
def client(service: Service) -> Client:
    return service.client


def restart(server: DurablePostgresServer) -> None:
    server.stop()
    server.start()


def crash(server: DurablePostgresServer) -> None:
    server.crash()
    server.start()


@contextmanager
def stopped(server: DurablePostgresServer) -> Iterator[None]:
    """Every connection is refused."""
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextmanager
def hanging(server: DurablePostgresServer) -> Iterator[None]:
    """Every connection is taken, and nothing answered."""
    server.pause()
    try:
        yield
    finally:
        server.resume()


def answer(client: Client) -> tuple[int, bool, float]:
    """The status of a request that needs the database, if it says when to try again, and when."""
    began = time.monotonic()
    response = client.request("GET", "/v1/jobs", timeout=2 * REQUEST_SECONDS)
    return response.status_code, "retry-after" in response.headers, time.monotonic() - began


def is_at_attempt(client: Client, job_id: str, attempt: int) -> bool:
    return bool(client.job(job_id)["attempt"] == attempt)


def wait_until_dead(process: psutil.Process, timeout_seconds: float) -> None:
    wait_until(lambda: not is_alive(process), timeout_seconds)


@only_in_full  # `make test` restarts it under an API, a dispatcher and a supervisor, one by one
@pytest.mark.parametrize("fault", [restart, crash])
def test_a_database_that_restarts_costs_a_job_nothing(
    client: Client,
    postgresql: DurablePostgresServer,
    fault: Callable[[DurablePostgresServer], None],
    longer_uninterrupted: Result,
    num_runs: int,
    record_fault: Callable[..., None],
) -> None:
    num_same = 0
    for _ in range(num_runs):
        job_id = client.submit(epochs=LONGER_EPOCHS)
        client.wait_for_epoch(job_id, 10)
        assert client.job(job_id)["state"] == "running"
        fault(postgresql)
        wait_until(client.is_ready, JOB_SECONDS)

        assert client.result(job_id) == longer_uninterrupted
        num_same += 1
    record_fault(
        f"PostgreSQL {fault.__name__}, a job running",
        runs=num_runs,
        lost=num_runs - num_same,
        same_bits=num_same,
    )


@only_in_full
@pytest.mark.parametrize("outage", [stopped, hanging])
def test_a_database_that_is_away_stops_the_trainer_and_loses_nothing(
    service: Service,
    client: Client,
    postgresql: DurablePostgresServer,
    outage: Callable[[DurablePostgresServer], AbstractContextManager[None]],
    num_runs: int,
    record_fault: Callable[..., None],
) -> None:
    slowest = 0.0
    for _ in range(num_runs):
        job_id = client.submit(**ENDLESS)
        client.wait_for_epoch(job_id, 10)
        trainer = wait_for_trainer(service.started["worker-0"].pid)
        with outage(postgresql), ThreadPoolExecutor(NUM_WAITING) as callers:
            answers = [callers.submit(answer, client) for _ in range(NUM_WAITING)]
            # While the supervisor itself waits for an answer, as long as a connection lets it.
            wait_until_dead(trainer, ANSWER_SECONDS - 1)
            assert client.request("GET", "/livez", timeout=PROBE_SECONDS).status_code == 200
            assert client.request("GET", "/readyz", timeout=PROBE_SECONDS).status_code == 503
            for status, says_when, seconds in [waiting.result() for waiting in answers]:
                assert (status, says_when) == (503, True)
                slowest = max(slowest, seconds)
        wait_until(client.is_ready, JOB_SECONDS)
        # What the trainer had sent before it was killed counts first, and still as its attempt's.
        wait_until(partial(is_at_attempt, client, job_id, 2), JOB_SECONDS)

        num_epochs = client.job(job_id)["progress"]["epochs_completed"] + 10
        client.wait_for_epoch(job_id, num_epochs)
        client.cancel(job_id)
        assert client.wait_until_over(job_id)["attempt"] == 2
        page = client.read(f"/v1/jobs/{job_id}/metrics")["epoch"]
        assert page[:num_epochs] == list(range(1, num_epochs + 1))
    record_fault(
        f"PostgreSQL {outage.__name__}, a job running",
        runs=num_runs,
        lost=0,
        slowest_503_seconds=round(slowest, 1),
    )


def result_of_long(client: Client, job_id: str) -> Result:
    wait_until(lambda: client.job(job_id)["state"] in OVER, LONG_SECONDS)
    return client.result(job_id)


@only_in_full
@pytest.mark.timeout(3 * LONG_SECONDS)
@pytest.mark.parametrize("outage", [stopped, hanging])
def test_ninety_seconds_without_a_database_with_the_leases_of_a_service(
    postgresql: DurablePostgresServer,
    tmp_path: Path,
    outage: Callable[[DurablePostgresServer], AbstractContextManager[None]],
    record_fault: Callable[..., None],
) -> None:
    defaults = Settings.model_fields
    names = ("lease_seconds", "renew_seconds", "fence_seconds", "redispatch_seconds")
    real = {name: defaults[name].default for name in names}
    with (
        RedisServer() as redis,
        at(tmp_path / "service", postgresql, redis, **real) as service,
    ):
        client = service.client
        expected = result_of_long(client, client.submit(epochs=LONG_EPOCHS))
        job_id = client.submit(epochs=LONG_EPOCHS)
        client.wait_for_epoch(job_id, 10)
        trainer = wait_for_trainer(service.started["worker-0"].pid)
        with outage(postgresql):
            began = time.monotonic()
            wait_until_dead(trainer, real["lease_seconds"])
            fenced_after = time.monotonic() - began
            assert client.request("GET", "/livez").status_code == 200
            assert answer(client)[:2] == (503, True)
            wait_out(90 - (time.monotonic() - began))
        began = time.monotonic()
        wait_until(client.is_ready, JOB_SECONDS)
        ready_after = time.monotonic() - began

        assert result_of_long(client, job_id) == expected
    record_fault(
        f"PostgreSQL {outage.__name__} for 90 s, lease 60 s",
        runs=1,
        lost=0,
        same_bits=1,
        fenced_after_seconds=round(fenced_after, 1),
        ready_after_seconds=round(ready_after, 1),
    )


@only_in_full
def test_eight_writers_and_a_backup_never_meet_a_locked_database(
    tmp_path: Path, num_runs: int, record_fault: Callable[..., None]
) -> None:
    """Through two processes of the API, while a worker writes an epoch every few milliseconds."""
    # One job at a time: behind the endless one, no other moves by itself.
    settings = {**SWIFT, "concurrency": 1, "checkpoint_seconds": 10}
    with embedded(tmp_path / "service", num_api=2, **settings) as service:
        endless = service.client.submit(**ENDLESS)
        service.client.wait_for_epoch(endless, 1)
        with ThreadPoolExecutor(NUM_WRITERS) as writers:
            writing = [
                writers.submit(write, service.client, num_rounds=2 + num_runs)
                for _ in range(NUM_WRITERS)
            ]
            backups = [
                back_up(tmp_path / "service" / "data", tmp_path / f"{number}.tar")
                for number in range(2)
            ]
        statuses = [status for writer in writing for status in writer.result()]
        service.client.cancel(endless)

    assert [status for status in statuses if status >= 300] == []
    for number, backup in enumerate(backups):
        assert endless in claimable_after_restore(backup, tmp_path / f"restored-{number}")
    record_fault(
        "eight writers on SQLite, and online backups",
        runs=num_runs,
        requests=len(statuses),
        server_errors=0,
        backups_restored=len(backups),
    )


def write(client: Client, *, num_rounds: int) -> list[int]:
    """All that a caller may change, over and over; the status of each answer."""
    statuses = []
    for _ in range(num_rounds):
        table = {"file": b"x,y,label\n" + b"1,2,a\n2,1,b\n" * 20}
        uploaded = client.request("POST", "/v1/datasets", files=table)
        dataset = f"/v1/datasets/{uploaded.json()['id']}"
        body = job_on(uploaded.json()["id"], epochs=1)
        submitted = client.request("POST", "/v1/jobs", json=body)
        job = f"/v1/jobs/{submitted.json()['id']}"
        statuses += [uploaded.status_code, submitted.status_code]
        for method, path in (
            ("GET", job),
            ("POST", f"{job}/cancel"),
            ("DELETE", job),
            ("GET", "/v1/jobs"),
            ("DELETE", dataset),
        ):
            statuses.append(client.request(method, path).status_code)
    return statuses


def back_up(data_dir: Path, target: Path) -> Path:
    subprocess.run([*COMMAND, "backup", target, "--data-dir", data_dir], check=True)
    return target


def claimable_after_restore(backup: Path, data_dir: Path) -> list[str]:
    """The jobs that go on in a service restored from a backup."""
    subprocess.run([*COMMAND, "restore", backup, "--data-dir", data_dir], check=True)
    with (
        closing(Database(Settings(data_dir=data_dir).database)) as database,
        database.write() as transaction,
    ):
        jobs.reap(transaction, lease_seconds=60, max_attempts=5, backoff_seconds=0)
        return jobs.claimable(transaction, limit=1000)
