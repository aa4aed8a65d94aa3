"""What a Redis that fails may cost: time, and nothing else.

In full, with a worker to whom Redis sends anew what was not acknowledged for a second, which is
less than its jobs take; `make test` shares the service of the integration tests.
"""

import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import redis

from tests.faults import impatient_worker
from tests.faults.stand import five_minutes_a_run, job_on, only_in_full, wait_out
from tests.support.client import Client
from tests.support.databases import new_postgresql
from tests.support.processes import python, running
from tests.support.servers import RedisServer
from tests.support.service import Service, scaled_out
from tests.support.waiting import wait_until
from tests.support.worker_examples import ENDLESS, SHORT_LEASES
from worker.broker.celery_app import SUPERVISE, create_celery

IN_FULL = "FAULTS" in os.environ
pytestmark = [
    pytest.mark.xdist_group("faults-brokers" if IN_FULL else "services"),
    five_minutes_a_run,
]

RETURN_SECONDS = 60  # how soon after its return a broker's messages are taken again
RESTARTS = 10
SUBMIT_SECONDS = 0.2  # what no more than one submission in a hundred may take
LEASES = {"lease_seconds": 30, "fence_seconds": 20}  # nothing here waits for one


WORKER = python("-m", impatient_worker.__name__)


@pytest.fixture(scope="module")
def service(request: pytest.FixtureRequest, broker: RedisServer) -> Iterator[Service]:
    if not IN_FULL:
        yield request.getfixturevalue("scaled_out")
        return
    tmp_path_factory = request.getfixturevalue("tmp_path_factory")
    with new_postgresql() as database_url:
        settings = {**SHORT_LEASES, **LEASES, "database_url": database_url, "redis_url": broker.url}
        folder = tmp_path_factory.mktemp("impatient")
        with scaled_out(folder, worker=WORKER, **settings) as service:
            yield service


@pytest.fixture
def second_worker(service: Service, tmp_path: Path) -> Iterator[None]:
    """Takes what is sent while the other worker runs a job."""
    with running(WORKER, service.settings, log=tmp_path / "log"):
        yield


@pytest.fixture
def client(service: Service) -> Client:
    return service.client


@pytest.fixture(scope="module")
def dataset_id(service: Service) -> str:
    return service.client.upload()


# Each tells whether all has happened that is to happen before it ends.
Outage = Iterator[Callable[[], bool]]


@contextmanager
def restarted(broker: RedisServer) -> Outage:
    """Again and again while the block goes on; then it is away."""

    def restart() -> None:
        for _ in range(RESTARTS):
            broker.stop()
            broker.start()
        broker.stop()

    with ThreadPoolExecutor(1) as pool:
        restarts = pool.submit(restart)
        try:
            yield restarts.done
            restarts.result()
        finally:
            pool.shutdown()
            broker.stop()
            broker.start()


@contextmanager
def flushed(broker: RedisServer) -> Outage:
    yield lambda: True
    with redis.Redis.from_url(broker.url) as connection:
        wait_until(lambda: connection.llen("cpu") > 0)
        connection.flushall()


@contextmanager
def paused(broker: RedisServer) -> Outage:
    broker.pause()
    try:
        yield lambda: True
    finally:
        broker.resume()


@contextmanager
def unreachable(broker: RedisServer) -> Outage:
    broker.stop()
    try:
        yield lambda: True
    finally:
        broker.start()


OUTAGES = [
    flushed,
    unreachable,
    pytest.param(restarted, marks=only_in_full),
    pytest.param(paused, marks=only_in_full),
]


class Submissions:
    """Jobs that one caller submits as long as the block lasts, and the seconds each took."""

    def __init__(self, client: Client, dataset_id: str) -> None:
        self.job_ids: list[str] = []
        self.seconds: list[float] = []
        self._client = client
        self._job = job_on(dataset_id)

    def submit(self, *, for_seconds: float, until: Callable[[], bool]) -> None:
        """One at least. All but a few are cancelled, or they would run for long afterwards."""
        deadline = time.monotonic() + for_seconds
        while not self.job_ids or time.monotonic() < deadline or not until():
            began = time.monotonic()
            job_id = str(self._client.create("/v1/jobs", json=self._job)["id"])
            self.seconds.append(time.monotonic() - began)
            if len(self.job_ids) < 3:
                self.job_ids.append(job_id)
            else:
                self._client.cancel(job_id)


def readiness(client: Client) -> tuple[int, str]:
    """The status of /readyz, and what it says of Redis."""
    answer = client.request("GET", "/readyz")
    return answer.status_code, answer.json()["checks"]["redis"]


def wait_until_taken(client: Client, job_id: str) -> None:
    wait_until(lambda: client.job(job_id)["state"] != "queued", RETURN_SECONDS)


def p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[98] if len(seconds) > 1 else seconds[0]


@pytest.mark.parametrize("outage", OUTAGES)
def test_no_job_is_lost_to_a_broker_that_fails_and_none_waits_for_it(
    client: Client,
    broker: RedisServer,
    dataset_id: str,
    outage: Callable[[RedisServer], AbstractContextManager[Callable[[], bool]]],
    num_runs: int,
    record_fault: Callable[..., None],
    chance: random.Random,
) -> None:
    """A job runs meanwhile; the worker runs one at a time, so the others follow it."""
    submissions = Submissions(client, dataset_id)
    returned_in, num_accepted, num_ended = [], 0, 0
    for _ in range(num_runs):
        running = client.submit(**ENDLESS)
        client.wait_for_epoch(running, 1)
        submissions.job_ids = []
        with outage(broker) as is_complete:
            # Also for longer than a worker waits for a connection that is silent.
            for_seconds = 0 if num_runs == 1 else chance.uniform(0, 45)
            submissions.submit(for_seconds=for_seconds, until=is_complete)
            if outage is not flushed:
                assert readiness(client) == (200, "failed")
        began = time.monotonic()
        assert client.job(running)["attempt"] == 1
        client.cancel(running)
        wait_until_taken(client, submissions.job_ids[0])
        returned_in.append(time.monotonic() - began)
        num_accepted += 1 + len(submissions.job_ids)
        for job_id in submissions.job_ids:
            assert client.wait_until_over(job_id)["state"] == "succeeded"
            num_ended += 1
        assert client.wait_until_over(running)["attempt"] == 1
        num_ended += 1
        wait_until(lambda: readiness(client) == (200, "ok"))

    record_fault(
        f"Redis {outage.__name__}, a job running",
        runs=num_runs,
        jobs=num_accepted,
        lost=num_accepted - num_ended,
        submitted=len(submissions.seconds),
        submit_p99_ms=round(1000 * p99(submissions.seconds), 1),
        longest_return_seconds=round(max(returned_in), 1),
    )
    if IN_FULL:
        assert p99(submissions.seconds) < SUBMIT_SECONDS


def test_neither_a_failover_nor_a_malformed_message_ends_a_worker(
    service: Service, client: Client, broker: RedisServer, dataset_id: str
) -> None:
    """All commands of a replica are refused, and whoever reaches Redis can send anything."""
    with redis.Redis.from_url(broker.url) as connection:
        connection.replicaof("127.0.0.1", 1)
        with pytest.raises(redis.RedisError):
            connection.lpush("cpu", "while it is a replica")
        connection.replicaof("NO", "ONE")
        connection.lpush("cpu", "no JSON", "[]", "null", "1", b"\xff", "[" * 50_000)
        run_another(client, dataset_id)
        # A message left by an earlier outage may have led the worker to the job before these.
        wait_until(lambda: service.log().count("dropped a message") == 6)
        # Not kept for a worker that is about to connect again.
        wait_until(lambda: publish(connection, "[]") and '"queue": "all workers"' in service.log())
        run_another(client, dataset_id)
        assert connection.hlen("unacked") == 0  # Redis keeps none to send it again
    assert service.started["worker-0"].poll() is None


@only_in_full
@pytest.mark.usefixtures("second_worker")
def test_a_message_delivered_three_times_is_one_run(
    service: Service,
    client: Client,
    dataset_id: str,
    num_runs: int,
    record_fault: Callable[..., None],
) -> None:
    """To a job that waits, to one that runs, and to one that is over."""
    second_runs = 0
    with create_celery(service.settings) as celery:

        def deliver(job_id: str) -> None:
            for _ in range(3):
                celery.send_task(SUPERVISE, args=[job_id], queue="cpu")

        for _ in range(num_runs):
            job_id = client.submit(**ENDLESS)
            deliver(job_id)
            client.wait_for_epoch(job_id, 1)
            deliver(job_id)
            run_another(client, dataset_id)
            end_one_run(client, job_id)
            deliver(job_id)
            run_another(client, dataset_id)
            second_runs += client.job(job_id)["attempt"] - 1
            assert second_runs == 0
    record_fault("a message delivered three times", runs=num_runs, second_runs=second_runs)


@only_in_full
@pytest.mark.usefixtures("second_worker")
def test_a_job_that_outlasts_the_visibility_timeout_is_one_run(
    client: Client, dataset_id: str, num_runs: int, record_fault: Callable[..., None]
) -> None:
    second_runs = 0
    for _ in range(num_runs):
        job_id = client.submit(**ENDLESS)
        client.wait_for_epoch(job_id, 1)
        wait_out(3 * impatient_worker.VISIBILITY["visibility_timeout"])
        run_another(client, dataset_id)
        end_one_run(client, job_id)
        second_runs += client.job(job_id)["attempt"] - 1
    record_fault("visibility timeout shorter than the job", runs=num_runs, second_runs=second_runs)


def publish(connection: redis.Redis, content: str) -> bool:
    """Send a message to all workers, and return whether one listens."""
    return bool(connection.publish("/0.celery.pidbox", content))


def run_another(client: Client, dataset_id: str) -> None:
    """A job whose message is behind all that were sent, so that they are taken when it is over."""
    job_id = str(client.create("/v1/jobs", json=job_on(dataset_id))["id"])
    assert client.wait_until_over(job_id)["state"] == "succeeded"


def end_one_run(client: Client, job_id: str) -> None:
    """Cancel what runs; AssertionError unless it ran once, and to this moment."""
    assert client.job(job_id)["state"] == "running"
    client.cancel(job_id)
    client.wait_until_over(job_id)
    told = [event["type"] for event in client.events(job_id)]
    happened = [type_ for type_ in told if type_ not in ("step", "epoch")]
    assert happened == ["queued", "running", "cancelling", "cancelled"]


@only_in_full
def test_a_worker_ends_in_time_while_the_broker_hangs(
    service: Service, client: Client, broker: RedisServer, dataset_id: str
) -> None:
    job_id = client.submit(**ENDLESS)
    client.wait_for_epoch(job_id, 1)
    with paused(broker):
        worker = service.started["worker-0"]
        worker.terminate()
        assert worker.wait(2 * service.settings.grace_seconds) == 0
        assert client.job(job_id)["state"] == "queued"
    client.cancel(job_id)
    service.heal()


@only_in_full
def test_a_worker_that_nobody_asked_to_stop_ends_with_an_error(
    service: Service, client: Client
) -> None:
    """So that what started it starts another one. Its jobs do not wait for their own ends."""
    job_id = client.submit(**ENDLESS)
    client.wait_for_epoch(job_id, 1)
    with create_celery(service.settings) as celery:
        celery.control.shutdown()
    assert service.started["worker-0"].wait(2 * service.settings.grace_seconds) == 1
    assert client.job(job_id)["state"] == "queued"
    client.cancel(job_id)
    service.heal()
