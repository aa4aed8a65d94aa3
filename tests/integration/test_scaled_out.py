import pytest
import redis

from tests.integration.client import Client
from tests.integration.services import ScaledOut
from tests.servers import RedisServer
from tests.waiting import wait_until
from tests.worker.examples import ENDLESS, Result
from tests.worker.processes import below, is_alive
from worker.celery_app import SUPERVISE, create_celery

pytestmark = pytest.mark.xdist_group("services")  # they share what takes long to start


@pytest.fixture
def client(scaled_out: ScaledOut) -> Client:
    return scaled_out.client


def happened(client: Client, job_id: str) -> list[str]:
    return [event["type"] for event in client.events(job_id) if event["type"] != "epoch"]


def test_a_table_becomes_a_model_that_answers(client: Client, uninterrupted: Result) -> None:
    job_id = client.submit()

    assert client.result(job_id) == uninterrupted
    assert client.predicts(job_id)


def test_jobs_are_taken_while_the_broker_is_away(client: Client, broker: RedisServer) -> None:
    broker.stop()
    job_id = client.submit(epochs=3)
    assert client.job(job_id)["state"] == "queued"
    assert client.is_ready()
    broker.start()

    assert client.wait_until_over(job_id)["state"] == "succeeded"


def test_a_broker_that_forgets_costs_time_alone(client: Client, broker: RedisServer) -> None:
    """The worker has one place: while it is taken, the second job's message waits in Redis."""
    first = client.submit(**ENDLESS)
    client.wait_for_epoch(first, 1)
    second = client.submit(epochs=3)
    with redis.Redis.from_url(broker.url) as connection:
        wait_until(lambda: connection.llen("cpu") > 0)
        connection.flushall()
    client.cancel(first)

    assert client.wait_until_over(second)["state"] == "succeeded"


def test_a_message_delivered_three_times_is_one_run(scaled_out: ScaledOut, client: Client) -> None:
    job_id = client.submit(epochs=3)
    with create_celery(scaled_out.settings) as celery:
        for _ in range(3):
            celery.send_task(SUPERVISE, args=[job_id], queue="cpu")
    client.wait_until_over(job_id)
    last = client.submit(epochs=3)  # behind the messages above
    client.wait_until_over(last)

    assert client.job(job_id)["attempt"] == 1
    assert client.result(job_id).epochs_announced == [1, 2, 3]


def test_another_worker_ends_the_job_of_a_killed_one(
    scaled_out: ScaledOut, client: Client, uninterrupted: Result
) -> None:
    job_id = client.submit()
    client.wait_for_epoch(job_id, 10)
    started = below(scaled_out.worker.pid)
    scaled_out.worker.kill()
    wait_until(lambda: not any(is_alive(process) for process in started))
    scaled_out.start_worker()

    assert client.result(job_id) == uninterrupted
    assert happened(client, job_id) == ["queued", "running", "requeued", "running", "succeeded"]


def test_a_worker_that_is_asked_to_stop_hands_its_job_on(
    scaled_out: ScaledOut, client: Client, uninterrupted: Result
) -> None:
    job_id = client.submit()
    client.wait_for_epoch(job_id, 10)
    scaled_out.worker.terminate()
    assert scaled_out.worker.wait(scaled_out.settings.grace_seconds) == 0
    scaled_out.start_worker()

    assert client.result(job_id) == uninterrupted
    assert happened(client, job_id) == ["queued", "running", "requeued", "running", "succeeded"]
    # Only a lost attempt has something to tell.
    assert "detail" not in next(e for e in client.events(job_id) if e["type"] == "requeued")["data"]
