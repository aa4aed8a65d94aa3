"""However many watch, the database is read once; and each watcher is told everything once."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from app.events.stream import encode
from app.jobs.endpoints import EVENTS
from app.monitoring import watched_events
from app.monitoring.watched_events import Message, Watched, WatchedEvents
from store import jobs
from store.database.engine import Database
from tests.support.store_examples import (
    cancel_job,
    epoch,
    get_job,
    new_claim,
    new_job,
    remove_job,
)

SECONDS = 30
SOURCES = {"job": EVENTS}


@pytest.fixture
def sqlite_database(sqlite_url: str) -> Iterator[Database]:
    with closing(Database(sqlite_url)) as database:
        yield database


class Counted(WatchedEvents):
    """Keeps which jobs were asked for in each read, and how often history was read."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, sources=SOURCES, encode=encode)
        self.asked: list[set[str]] = []
        self.num_histories = 0
        self.failures: list[Exception] = []

    def _read(self, asked: Mapping[str, int]) -> dict[str, Any]:
        self.asked.append(set(asked))
        if self.failures:
            raise self.failures.pop()
        return super()._read(asked)

    def _read_history(self, job_id: str, after: int) -> list[Message]:
        self.num_histories += 1
        return super()._read_history(job_id, after)


async def follow(watched: WatchedEvents, job: Watched, *, after: int) -> list[int]:
    """The numbers of the events after `after`, up to the last one."""
    seen: list[int] = []
    async with asyncio.timeout(SECONDS):
        while True:
            changed = job.changed
            found = await watched.messages_of(job, after=max(seen, default=after))
            seen += [number for number, _ in found]
            if not found and (job.is_over or job.is_deleted):
                return seen
            if not found:
                await changed.wait()


def has_read(job: Watched, last_event: int) -> bool:
    return job.last_event == last_event


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def test_all_watchers_share_one_read(database: Database) -> None:
    with database.write() as transaction:
        mine, other = new_claim(transaction), new_job(transaction)
        watched_job, quiet_job = get_job(transaction, mine.job_id), other

    async def watch() -> None:
        watched = Counted(database)
        with ExitStack() as stack:
            same = [stack.enter_context(watched.watching(watched_job)) for _ in range(20)]
            stack.enter_context(watched.watching(quiet_job))
            assert watched.num_watchers == {"default": 21}
            following = [asyncio.create_task(follow(watched, job, after=2)) for job in same]
            await until(lambda: watched.asked)
            with database.write() as transaction:
                jobs.record(transaction, mine, epoch(1))
                jobs.fail(transaction, mine, reason="diverged", detail="")
            assert await asyncio.gather(*following) == [[3, 4]] * 20
            assert set.union(*watched.asked) == {watched_job.id, quiet_job.id}
            await until(lambda: watched.asked[-1] == {quiet_job.id})  # the other is over
        assert watched.num_watchers.total() == watched.num_histories == 0
        polling = watched._polling
        await until(lambda: polling is None or polling.done())

    asyncio.run(watch())


@pytest.mark.parametrize("after", [0, 1, 4])
def test_what_a_watcher_has_missed_is_read(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(watched_events, "BATCH", 2)
    with sqlite_database.write() as transaction:
        mine = new_claim(transaction)
        job = get_job(transaction, mine.job_id)

    async def watch() -> list[int]:
        watched = Counted(sqlite_database)
        with watched.watching(job) as own:
            for number in (1, 2, 3, 4, 5):
                with sqlite_database.write() as transaction:
                    jobs.record(transaction, mine, epoch(number))
                if number % 2:
                    await until(partial(has_read, own, 2 + number))
            with sqlite_database.write() as transaction:
                jobs.fail(transaction, mine, reason="diverged", detail="")
            await until(lambda: own.is_over)
            return await follow(watched, own, after=after)

    assert asyncio.run(watch()) == list(range(after + 1, 9))


def test_a_job_that_is_deleted_is_over(sqlite_database: Database) -> None:
    with sqlite_database.write() as transaction:
        job = new_job(transaction)

    async def watch() -> list[int]:
        watched = WatchedEvents(sqlite_database, sources=SOURCES, encode=encode)
        with watched.watching(job) as own:
            following = asyncio.create_task(follow(watched, own, after=0))
            with sqlite_database.write() as transaction:
                cancel_job(transaction, job.id)
                remove_job(transaction, job.id)
            return await following

    assert asyncio.run(watch()) in ([], [1])


def test_watchers_wait_while_the_database_is_away(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched_events, "AWAY_SECONDS", 0.01)
    with sqlite_database.write() as transaction:
        job = new_job(transaction)

    async def watch() -> list[int]:
        watched = Counted(sqlite_database)
        watched.failures = [OperationalError("", {}, Exception()) for _ in range(3)]
        with watched.watching(job) as own:
            following = asyncio.create_task(follow(watched, own, after=1))
            await until(lambda: len(watched.asked) > 3)
            with sqlite_database.write() as transaction:
                cancel_job(transaction, job.id)
            return await following

    assert asyncio.run(watch()) == [2]
