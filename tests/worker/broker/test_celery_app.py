import json
import subprocess
from collections.abc import Iterator

import pytest
import redis
from celery import Celery
from pydantic import SecretStr

from store.settings import Settings
from tests.support.processes import python
from tests.support.worker_examples import get_job, new_job
from worker.attempt import Worker
from worker.broker import tasks
from worker.broker.celery_app import SUPERVISE, create_celery


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return Settings(redis_url=SecretStr(redis_url))


@pytest.fixture
def celery(settings: Settings) -> Iterator[Celery]:
    with create_celery(settings) as celery:
        yield celery


def test_without_a_broker_there_is_none() -> None:
    with pytest.raises(ValueError, match="DROPOUT_REDIS_URL is not set"):
        create_celery(Settings(redis_url=None))


def test_a_message_is_json_that_holds_an_id_alone(celery: Celery, redis_url: str) -> None:
    celery.send_task(SUPERVISE, args=["job_1"], queue="cpu")
    with redis.Redis.from_url(redis_url) as client:
        [message] = client.lrange("cpu", 0, -1)

    envelope = json.loads(message)
    assert envelope["content-type"] == "application/json"
    assert envelope["headers"]["task"] == SUPERVISE
    assert envelope["headers"]["argsrepr"] == "['job_1']"


def test_a_message_that_arrives_has_done_its_work(celery: Celery) -> None:
    """Or Redis would send it again after an hour, while its job still runs."""
    assert celery.conf.task_acks_late is False
    assert celery.conf.worker_disable_prefetch is True


def test_no_worker_answers_where_there_is_none(settings: Settings) -> None:
    check = subprocess.run(
        python("-m", "worker", "check-celery"),
        env=settings.as_environment(),
        capture_output=True,
        text=True,
    )

    assert check.returncode == 1
    assert check.stderr == "error: the worker of this host does not answer\n"


def test_a_task_goes_on_with_what_else_is_due_in_its_queue(celery: Celery, worker: Worker) -> None:
    """Celery would look for the next message a second later."""
    first, second = new_job(worker, epochs=1), new_job(worker, epochs=1)
    elsewhere = new_job(worker, epochs=1, queue="gpu")
    tasks.register(celery, worker)
    celery.tasks[SUPERVISE].apply(args=[first], routing_key="cpu").get()

    states = [get_job(worker, job_id).state for job_id in (first, second, elsewhere)]
    assert states == ["succeeded", "succeeded", "queued"]


def test_a_message_that_comes_late_does_no_harm(celery: Celery, worker: Worker) -> None:
    job_id = new_job(worker, epochs=1)
    tasks.register(celery, worker)
    for _ in range(3):
        celery.tasks[SUPERVISE].apply(args=[job_id], routing_key="cpu").get()
    assert get_job(worker, job_id).attempt == 1
