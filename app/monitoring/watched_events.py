"""The jobs and sweeps that event streams watch: a process reads the database once for all."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from anyio import CancelScope, CapacityLimiter, current_time, to_thread
from sqlalchemy import Connection

from store.database.engine import Database, is_unavailable

POLL_SECONDS = 0.2
AWAY_SECONDS = 2.0  # between two attempts while the database is down
BATCH = 100  # events in a read; a client that does not read keeps them in memory
CLOSE_SECONDS = 3.0  # for a watcher to end, once it was woken for the last time

Message = tuple[int, bytes]  # an event's number, and the event as it is sent

log = structlog.get_logger()


class Numbered(Protocol):
    """An event: its number among those of its job or sweep, and what happened."""

    @property
    def sequence(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def data(self) -> dict[str, Any]: ...
    @property
    def created_at(self) -> float: ...


class Subject(Protocol):
    """A job or a sweep, as it was just read."""

    @property
    def id(self) -> str: ...
    @property
    def tenant(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def num_events(self) -> int: ...


class ReadPage(Protocol):
    """Return up to `limit` events numbered above `after`, oldest first."""

    def __call__(
        self, connection: Connection, subject_id: str, /, *, after: int, limit: int
    ) -> Sequence[Numbered]: ...


@dataclass(frozen=True)
class Source:
    """How the events of all jobs, or of all sweeps, are read.

    `states` returns the number of events and the state of those that exist, by id.
    """

    states: Callable[[Connection, Collection[str]], Mapping[str, tuple[int, str]]]
    page: ReadPage
    terminal: Collection[str]


@dataclass(eq=False)
class Watched:
    """A job or a sweep as it was last read.

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
    """New events, and whether their job or sweep has ended and these are the last ones."""

    messages: list[Message]
    is_over: bool


class WatchedEvents:
    """Follow the jobs and sweeps that are watched, for one event loop.

    `sources` are by the prefix of ids, such as `job`. `encode` makes an event a message.

    One task reads them every POLL_SECONDS: a query for each source, and another one for each job or
    sweep that has new events. It has a thread of its own, so that no number of streams delays other
    requests.
    """

    def __init__(
        self,
        database: Database,
        *,
        sources: Mapping[str, Source],
        encode: Callable[[Numbered], bytes],
    ) -> None:
        self._database = database
        self._sources = sources
        self._encode = encode
        self._watched: dict[str, Watched] = {}
        self._polling: asyncio.Task[None] | None = None
        self._poll_thread = CapacityLimiter(1)
        self._history_threads = CapacityLimiter(2)
        self._scopes: set[CancelScope] = set()
        self.num_watchers: Counter[str] = Counter()  # by tenant
        self.is_closed = False

    @contextmanager
    def watching(self, subject: Subject) -> Iterator[Watched]:
        """Follow what was read just now in this block, until `close` ends the block."""
        watched = self._watched.get(subject.id)
        if watched is None:
            is_over = subject.state in self._source_of(subject.id).terminal
            watched = Watched(subject.id, subject.num_events, is_over)
            self._watched[subject.id] = watched
        watched.num_watchers += 1
        self.num_watchers[subject.tenant] += 1
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())
        try:
            with CancelScope() as scope:
                self._scopes.add(scope)
                yield watched
        finally:
            self._scopes.remove(scope)
            self.num_watchers[subject.tenant] -= 1
            watched.num_watchers -= 1
            if watched.num_watchers == 0:
                del self._watched[subject.id]

    async def messages_of(self, watched: Watched, *, after: int) -> list[Message]:
        """Return events numbered above `after`, the first of them; none if all were returned.

        Those of the last poll are at hand; earlier ones are read. Raises SQLAlchemyError.
        """
        if after >= watched.last_event:
            return []
        if after >= watched.newest_after:
            return [message for message in watched.newest if message[0] > after]
        return await to_thread.run_sync(
            self._read_history, watched.id, after, limiter=self._history_threads
        )

    def close(self) -> None:
        """Wake every watcher for the last time: the process stops.

        One that does not end, since its client does not read, is cancelled.
        """
        self.is_closed = True
        for scope in self._scopes:
            scope.deadline = current_time() + CLOSE_SECONDS
        for watched in self._watched.values():
            watched.wake()

    async def _poll(self) -> None:
        while self._watched:
            unfinished = {
                watched.id: watched.last_event
                for watched in self._watched.values()
                if not watched.is_over
            }
            pause = POLL_SECONDS
            if unfinished:
                try:
                    found = await to_thread.run_sync(
                        self._read, unfinished, limiter=self._poll_thread
                    )
                except Exception as error:  # the streams wait, whatever it is
                    if not is_unavailable(error):
                        log.exception("the events of streams cannot be read")
                    pause = AWAY_SECONDS
                else:
                    self._note(unfinished, found)
                    if any(len(new.messages) == BATCH for new in found.values()):
                        pause = 0.0  # there are more
            await asyncio.sleep(pause)

    def _note(self, asked: Mapping[str, int], found: Mapping[str, _Found]) -> None:
        """Take over what was read of all that is still watched, as it was then."""
        for subject_id, last_event in asked.items():
            watched = self._watched.get(subject_id)
            if watched is None or watched.last_event != last_event:
                continue
            new = found.get(subject_id)
            if new is None:
                watched.is_deleted = True
                watched.wake()
            elif new.messages or new.is_over:
                watched.is_over = new.is_over
                watched.newest, watched.newest_after = new.messages, last_event
                if new.messages:
                    watched.last_event = new.messages[-1][0]
                watched.wake()

    def _read(self, asked: Mapping[str, int]) -> dict[str, _Found]:
        """Return what is new of each that there still is."""
        found = {}
        with self._database.read() as transaction:
            for prefix, source in self._sources.items():
                ids = [subject_id for subject_id in asked if _prefix_of(subject_id) == prefix]
                states = source.states(transaction, ids) if ids else {}
                for subject_id, (num_events, state) in states.items():
                    after = asked[subject_id]
                    new: Sequence[Numbered] = []
                    if num_events > after:
                        new = source.page(transaction, subject_id, after=after, limit=BATCH)
                    # What has ended has all its events.
                    has_all = not new or new[-1].sequence >= num_events
                    is_over = state in source.terminal and has_all
                    found[subject_id] = _Found(self._encoded(new), is_over)
        return found

    def _read_history(self, subject_id: str, after: int) -> list[Message]:
        if self.is_closed:  # many may wait for their turn
            return []
        page = self._source_of(subject_id).page
        with self._database.read() as transaction:
            return self._encoded(page(transaction, subject_id, after=after, limit=BATCH))

    def _encoded(self, found: Iterable[Numbered]) -> list[Message]:
        return [(event.sequence, self._encode(event)) for event in found]

    def _source_of(self, subject_id: str) -> Source:
        return self._sources[_prefix_of(subject_id)]


def _prefix_of(subject_id: str) -> str:
    return subject_id.partition("_")[0]
