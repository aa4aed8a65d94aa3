import json
import threading
from base64 import b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from pydantic import SecretStr
from sqlalchemy import Connection, update

from store import jobs
from store.access.keys import DEFAULT_TENANT
from store.artifacts.artifact_store import open_artifacts
from store.artifacts.local_folder import LocalArtifacts
from store.database.engine import Database
from store.database.tables import database_now
from store.database.tables import jobs as jobs_table
from store.job_spec import JobSpec
from store.settings import Settings
from tests.support.servers import PostgresServer, RedisServer
from tests.support.waiting import wait_until
from tests.support.worker_examples import put_left_over
from worker import __main__ as role
from worker.attempt import Worker
from worker.broker import dispatcher
from worker.broker.celery_app import SUPERVISE, create_celery

# What has nothing to do with the database needs to be shown on one alone.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def settings(redis_url: str, database_url: str, tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "data",
        redis_url=SecretStr(redis_url),
        database_url=database_url,
        retry_backoff_seconds=0.01,
    )


@pytest.fixture
def celery(settings: Settings) -> Iterator[Celery]:
    with create_celery(settings) as celery:
        yield celery


def new_job(database: Database, queue: str = "cpu") -> str:
    spec = JobSpec.model_validate({"dataset": {"id": "ds_1", "target": "label"}})
    with database.write() as transaction:
        return jobs.create(transaction, spec, queue=queue, tenant=DEFAULT_TENANT).id


def messages(celery: Celery, queue: str = "cpu") -> list[str]:
    """The ids of jobs in the messages of a queue, which are taken off it, oldest first."""
    with redis.Redis.from_url(celery.conf.broker_url) as client:
        envelopes = client.rpop(queue, 100) or []
    arguments = [json.loads(b64decode(json.loads(envelope)["body"]))[0] for envelope in envelopes]
    return [job_id for [job_id] in arguments]


def unsent(settings: Settings, database: Database) -> list[str]:
    """The ids of due jobs for which no message has gone out."""
    with database.read() as transaction:
        due = jobs.due_for_dispatch(
            transaction, redispatch_seconds=settings.redispatch_seconds, limit=100
        )
    return [job_id for job_id, _ in due]


def claim(transaction: Connection, job_id: str, *, lease_seconds: float = 60) -> None:
    options: dict[str, Any] = {"owner": "me", "num_threads": 1, "max_attempts": 5}
    assert jobs.claim(transaction, job_id, lease_seconds=lease_seconds, **options)


@contextmanager
def dispatching(settings: Settings, database: Database, celery: Celery) -> Iterator[None]:
    """A dispatcher that goes on beside the block."""
    worker = Worker(settings, database, open_artifacts(settings), "me", threading.Event())
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(dispatcher.run, worker, celery)
        try:
            yield
        finally:
            worker.draining.set()
        ended.result(30)


def on_broker(settings: Settings, url: str) -> Settings:
    return settings.model_copy(update={"redis_url": SecretStr(url)})


def check_dispatch(settings: Settings) -> str:
    """What the container's health check has to tell, in this process, where it starts sooner."""
    with pytest.MonkeyPatch.context() as variables:
        for name, value in settings.as_environment().items():
            variables.setenv(name, value)
        try:
            role.check_dispatch()
        except SystemExit as error:
            return str(error)
    return ""


def test_the_id_of_each_due_job_goes_to_its_queue(
    settings: Settings, database: Database, celery: Celery
) -> None:
    on_cpu, on_gpu = new_job(database), new_job(database, queue="gpu")
    dispatcher.relay(settings, database, celery)

    assert messages(celery) == [on_cpu]
    assert messages(celery, "gpu") == [on_gpu]


def test_a_message_goes_out_once(settings: Settings, database: Database, celery: Celery) -> None:
    job_id = new_job(database)
    dispatcher.relay(settings, database, celery)
    dispatcher.relay(settings, database, celery)

    assert messages(celery) == [job_id]


def test_a_message_that_nobody_acts_on_goes_out_again(
    settings: Settings, database: Database, celery: Celery
) -> None:
    job_id = new_job(database)
    dispatcher.relay(settings, database, celery)
    settings = settings.model_copy(update={"redispatch_seconds": 1e-9})
    dispatcher.relay(settings, database, celery)

    assert messages(celery) == [job_id, job_id]


def test_what_is_not_due_waits(settings: Settings, database: Database, celery: Celery) -> None:
    running, later = new_job(database), new_job(database)
    with database.write() as transaction:
        claim(transaction, running)
        in_backoff = {"failures": 1, "run_after": database_now() + 30}
        transaction.execute(update(jobs_table).where(jobs_table.c.id == later).values(**in_backoff))
    dispatcher.relay(settings, database, celery)

    assert messages(celery) == []


def test_more_messages_than_workers_can_use_do_not_pile_up(
    settings: Settings, database: Database, celery: Celery
) -> None:
    """However often all of them are due to be sent again; and no queue waits for another."""
    waiting = {new_job(database) for _ in range(2 * dispatcher.BACKLOG + 1)}
    on_gpu = new_job(database, queue="gpu")
    settings = settings.model_copy(update={"redispatch_seconds": 1e-9})
    for _ in range(3):
        dispatcher.relay(settings, database, celery)
    assert dispatcher.room(celery, "cpu") == 0
    assert set(messages(celery, "gpu")) == {on_gpu}

    while taken := messages(celery):
        assert len(taken) <= dispatcher.BACKLOG
        with database.write() as transaction:
            for job_id in waiting.intersection(taken):
                claim(transaction, job_id)
        waiting.difference_update(taken)
        dispatcher.relay(settings, database, celery)
    assert waiting == set()


def test_two_dispatchers_send_all_there_is(
    settings: Settings, database: Database, celery: Celery
) -> None:
    waiting = {new_job(database) for _ in range(20)}
    with dispatching(settings, database, celery), dispatching(settings, database, celery):
        wait_until(lambda: not unsent(settings, database))
    sent = messages(celery)

    assert set(sent) == waiting
    assert max(sent.count(job_id) for job_id in waiting) <= 2


def test_a_lost_job_is_taken_back_and_sent_again(
    settings: Settings, database: Database, celery: Celery
) -> None:
    job_id = new_job(database)
    with database.write() as transaction:
        claim(transaction, job_id, lease_seconds=-1)
    with dispatching(settings, database, celery):
        wait_until(lambda: messages(celery) == [job_id])

    with database.read() as transaction:
        job = jobs.get(transaction, job_id, tenant=DEFAULT_TENANT)
    assert (job.state, job.failures) == ("queued", 1)


@on_sqlite
def test_what_nobody_needs_is_deleted(
    settings: Settings, database: Database, celery: Celery
) -> None:
    new_job(database)
    artifacts = LocalArtifacts(settings.artifact_root)
    put_left_over(artifacts, settings.data_dir)
    with dispatching(settings, database, celery):
        wait_until(lambda: artifacts.list("jobs") == [], 30)


@on_sqlite
def test_the_broker_may_go_and_come_back(
    own_redis: RedisServer, database: Database, settings: Settings
) -> None:
    with (
        create_celery(on_broker(settings, own_redis.url)) as celery,
        dispatching(settings, database, celery),
    ):
        first = new_job(database)
        wait_until(lambda: messages(celery) == [first])
        own_redis.stop()
        second = new_job(database)
        own_redis.start()
        wait_until(lambda: second in messages(celery), 30)


@on_sqlite
def test_leases_expire_also_while_the_broker_hangs(
    own_redis: RedisServer, database: Database, settings: Settings
) -> None:
    job_id = new_job(database)
    with create_celery(on_broker(settings, own_redis.url)) as celery:
        own_redis.pause()
        with dispatching(settings, database, celery):
            with database.write() as transaction:
                claim(transaction, job_id, lease_seconds=-1)
            wait_until(lambda: unsent(settings, database) == [job_id])
            own_redis.resume()
            wait_until(lambda: job_id in messages(celery), 30)


@on_sqlite
def test_the_database_may_go_and_come_back(
    own_postgresql: PostgresServer, settings: Settings, celery: Celery
) -> None:
    with closing(Database(own_postgresql.url)) as database:
        database.migrate()
        with dispatching(settings, database, celery):
            first = new_job(database)
            wait_until(lambda: messages(celery) == [first])
            own_postgresql.stop()
            own_postgresql.start()
            second = new_job(database)
            wait_until(lambda: second in messages(celery), 30)


def test_its_health_is_that_no_job_waits_for_a_message(
    settings: Settings, database: Database
) -> None:
    job_id = new_job(database)
    assert check_dispatch(settings) == ""

    with database.write() as transaction:
        transaction.execute(update(jobs_table).values(run_after=0))
    assert (
        check_dispatch(settings)
        == f"error: job {job_id} was not dispatched: no dispatcher is running"
    )

    with database.write() as transaction:
        jobs.mark_dispatched(transaction, [job_id])
    assert check_dispatch(settings) == ""

    with database.write() as transaction:
        transaction.execute(update(jobs_table).values(dispatched_at=0))
    with create_celery(settings) as celery:
        for _ in range(dispatcher.BACKLOG):
            celery.send_task(SUPERVISE, args=[job_id], queue="cpu")
    assert check_dispatch(settings) == ""
