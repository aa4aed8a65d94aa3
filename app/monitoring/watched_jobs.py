"""The jobs that event streams watch: a process reads the database once for all of its streams."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog
from anyio import CancelScope, CapacityLimiter, current_time, to_thread

from store import events, jobs
from store.database.engine import Database, is_unavailable
from store.events import Event
from store.jobs import TERMINAL, Job

POLL_SECONDS = 0.2
AWAY_SECONDS = 2.0  # between two attempts while the database is down
BATCH = 100  # events in a read; a client that does not read keeps them in memory
CLOSE_SECONDS = 3.0  # for a watcher to end, once it was woken for the last time

Message = tuple[int, bytes]  # an event's number, and the event as it is sent

log = structlog.get_logger()


@dataclass(eq=False)
class WatchedJob:
    """A job as it was last read.

    `newest` are the events that the last read found, numbered above `newest_after` and up to
    `last_event`. `changed` is set, and replaced, at each change.
    """

    id: str
    last_event: int
    is_over: bool
    is_deleted: bool = False
    newest: list[Message] = field(default_factory=list)
    newest_after: int = 0
    num_watchers: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.newest_after = self.last_event

    def wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


@dataclass(frozen=True)
class _Found:
    """New events of a job, and whether the job has ended and these are the last ones."""

    messages: list[Message]
    is_over: bool


class WatchedJobs:
    """Follow the jobs that are watched, for one event loop. `encode` makes an event a message.

    One task reads the jobs every POLL_SECONDS: a single query, and another one for each job that
    has new events. It has a thread of its own, so that no number of streams delays other requests.
    """

    def __init__(self, database: Database, *, encode: Callable[[Event], bytes]) -> None:
        self._database = database
        self._encode = encode
        self._jobs: dict[str, WatchedJob] = {}
        self._polling: asyncio.Task[None] | None = None
        self._poll_thread = CapacityLimiter(1)
        self._history_threads = CapacityLimiter(2)
        self._scopes: set[CancelScope] = set()
        self.num_watchers: Counter[str] = Counter()  # by tenant
        self.is_closed = False

    @contextmanager
    def watching(self, job: Job) -> Iterator[WatchedJob]:
        """Follow the job, which was read just now, in this block, until `close` ends the block."""
        watched = self._jobs.get(job.id)
        if watched is None:
            is_over = job.state in TERMINAL
            watched = self._jobs[job.id] = WatchedJob(job.id, job.num_events, is_over)
        watched.num_watchers += 1
        self.num_watchers[job.tenant] += 1
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())
        try:
            with CancelScope() as scope:
                self._scopes.add(scope)
                yield watched
        finally:
            self._scopes.remove(scope)
            self.num_watchers[job.tenant] -= 1
            watched.num_watchers -= 1
            if watched.num_watchers == 0:
                del self._jobs[job.id]

    async def messages_of(self, job: WatchedJob, *, after: int) -> list[Message]:
        """Return events numbered above `after`, the first of them; none if all were returned.

        Those of the last poll are at hand; earlier ones are read. Raises SQLAlchemyError.
        """
        if after >= job.last_event:
            return []
        if after >= job.newest_after:
            return [message for message in job.newest if message[0] > after]
        return await to_thread.run_sync(
            self._read_history, job.id, after, limiter=self._history_threads
        )

    def close(self) -> None:
        """Wake every watcher for the last time: the process stops.

        One that does not end, since its client does not read, is cancelled.
        """
        self.is_closed = True
        for scope in self._scopes:
            scope.deadline = current_time() + CLOSE_SECONDS
        for job in self._jobs.values():
            job.wake()

    async def _poll(self) -> None:
        while self._jobs:
            unfinished = {job.id: job.last_event for job in self._jobs.values() if not job.is_over}
            pause = POLL_SECONDS
            if unfinished:
                try:
                    found = await to_thread.run_sync(
                        self._read, unfinished, limiter=self._poll_thread
                    )
                except Exception as error:  # the streams wait, whatever it is
                    if not is_unavailable(error):
                        log.exception("the jobs of event streams cannot be read")
                    pause = AWAY_SECONDS
                else:
                    self._note(unfinished, found)
                    if any(len(new.messages) == BATCH for new in found.values()):
                        pause = 0.0  # there are more
            await asyncio.sleep(pause)

    def _note(self, asked: Mapping[str, int], found: Mapping[str, _Found]) -> None:
        """Take over what was read about the jobs that are still watched, as they were then."""
        for job_id, last_event in asked.items():
            job = self._jobs.get(job_id)
            if job is None or job.last_event != last_event:
                continue
            new = found.get(job_id)
            if new is None:
                job.is_deleted = True
                job.wake()
            elif new.messages or new.is_over:
                job.is_over = new.is_over
                job.newest, job.newest_after = new.messages, last_event
                if new.messages:
                    job.last_event = new.messages[-1][0]
                job.wake()

    def _read(self, asked: Mapping[str, int]) -> dict[str, _Found]:
        """Return what is new of each job that there still is."""
        with self._database.read() as transaction:
            found = {}
            for job_id, (num_events, state) in jobs.states(transaction, asked.keys()).items():
                new = []
                if num_events > asked[job_id]:
                    new = events.page(transaction, job_id, after=asked[job_id], limit=BATCH)
                # A job that has ended has all its events.
                is_over = state in TERMINAL and (not new or new[-1].sequence >= num_events)
                found[job_id] = _Found(self._encoded(new), is_over)
        return found

    def _read_history(self, job_id: str, after: int) -> list[Message]:
        if self.is_closed:  # many may wait for their turn
            return []
        with self._database.read() as transaction:
            return self._encoded(events.page(transaction, job_id, after=after, limit=BATCH))

    def _encoded(self, found: Iterable[Event]) -> list[Message]:
        return [(event.sequence, self._encode(event)) for event in found]
