"""Delete unneeded records and files: see docs/decisions/0011 for why no commit loses its files.

An artifact is needed while a row refers to it, and for some time after it was put, because
artifacts are put before their rows.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec

import structlog
from sqlalchemy import ColumnElement, Connection, delete, func, select, update

from dropout_core.files import delete_path
from store.access.idempotency import KEPT_SECONDS
from store.artifacts.artifact_store import DATASETS, JOBS, ArtifactStore
from store.database.engine import Database
from store.database.tables import database_now, datasets, events, idempotency_keys, jobs, models
from store.datasets import ACTIVE
from store.jobs import TERMINAL
from store.settings import SQLITE_FILE, Settings

HOUR = 3600.0
DAY = 24 * HOUR
TEMPORARY_FOLDERS = ("uploads", "scratch")  # of the data directory
EVENTS_PER_TRANSACTION = 1000  # more would make other writers wait for long
STOP_SECONDS = 5.0  # the next sweep deletes the rest of an interrupted one

log = structlog.get_logger()

P = ParamSpec("P")


@dataclass(frozen=True)
class Swept:
    """The numbers of deleted items."""

    num_artifacts: int
    num_temporary: int
    num_keys: int
    num_events: int


@contextmanager
def sweeping(settings: Settings, database: Database, artifacts: ArtifactStore) -> Iterator[None]:
    """Sweep now and then every `sweep_seconds` in a thread; its failures do not reach the block."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            sweep(settings, database, artifacts)
            stop.wait(settings.sweep_seconds)

    thread = threading.Thread(target=run, name="sweeper", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(STOP_SECONDS)


def sweep(settings: Settings, database: Database, artifacts: ArtifactStore) -> Swept:
    """Delete unneeded records and files. Safe at any time, and from several processes at once.

    - Artifacts of finished and deleted jobs that are older than a lease, except models that have a
      row: checkpoints, folds, and the files of lost attempts.
    - Tables without a dataset, older than an hour.
    - Uploads and scratch files older than a day.
    - Idempotency keys older than a day.
    - Epoch events of jobs that ended `keep_events_days` ago: their values stay in the
      job's metrics. The job's other events stay.

    Artifacts that are older than every row, or that lie beside another database, are kept: they can
    belong to another database.
    """
    swept = Swept(
        num_artifacts=_count_deleted(_sweep_artifacts, settings, database, artifacts),
        num_temporary=_count_deleted(_sweep_temporary, settings),
        num_keys=_count_deleted(_sweep_keys, database),
        num_events=_count_deleted(_sweep_events, settings, database),
    )
    if any(vars(swept).values()):
        log.info("sweep deleted unneeded data", **vars(swept))
    return swept


def _count_deleted(sweep_one: Callable[P, int], *args: P.args, **kwargs: P.kwargs) -> int:
    """Return how many items one sweep deleted; log its failure, so that the others still run."""
    try:
        return sweep_one(*args, **kwargs)
    except Exception as error:
        log.warning("a sweep failed", error=repr(error))
        return 0


def _sweep_artifacts(settings: Settings, database: Database, artifacts: ArtifactStore) -> int:
    if _lie_beside_another_database(settings):
        log.warning("no artifacts were deleted: they can belong to the dropout.db beside them")
        return 0
    # The keys come first: a job's row exists before its files, so a listed key whose job is not
    # found belongs to a deleted job, and not to a new one.
    of_jobs = artifacts.list_older_than(JOBS, seconds=settings.lease_seconds)
    of_datasets = artifacts.list_older_than(DATASETS, seconds=HOUR)
    with database.read() as transaction:
        needed = _references(transaction)
    unneeded = [key for key in of_jobs + of_datasets if not needed.includes(key)]
    for key in unneeded:
        artifacts.delete(key)
    return len(unneeded)


def _lie_beside_another_database(settings: Settings) -> bool:
    """Return whether the data directory has a database other than the configured one."""
    if settings.artifact_url is not None:
        return False  # the artifacts are not in the data directory
    beside = settings.data_dir / SQLITE_FILE
    configured = settings.sqlite_path
    return beside.exists() and (configured is None or configured.resolve() != beside.resolve())


@dataclass(frozen=True)
class _References:
    """The rows' references to artifacts. `oldest_id` is without its prefix: it sorts by time."""

    active_jobs: set[str]
    artifacts: set[str]  # of datasets and of models
    oldest_id: str | None

    def includes(self, key: str) -> bool:
        folders = key.split("/")
        prefixes = ("/".join(folders[:end]) for end in range(1, len(folders) + 1))
        return (
            folders[1] in self.active_jobs
            or any(prefix in self.artifacts for prefix in prefixes)
            # An id that is older than every row can belong to another database.
            or self.oldest_id is None
            or _without_prefix(folders[1]) < self.oldest_id
        )


def _references(transaction: Connection) -> _References:
    def column(wanted: ColumnElement[str], *conditions: ColumnElement[bool]) -> set[str]:
        return set(transaction.execute(select(wanted).where(*conditions)).scalars())

    return _References(
        # The jobs before the models: a job that is over by now has its model's row already.
        active_jobs=column(jobs.c.id, jobs.c.state.in_(ACTIVE)),
        artifacts=column(models.c.artifact) | column(datasets.c.artifact),
        oldest_id=_oldest_id(transaction),
    )


def _oldest_id(transaction: Connection) -> str | None:
    """Return the oldest id in any row, without its prefix."""
    ids = (datasets.c.id, jobs.c.id, jobs.c.dataset_id, models.c.id, models.c.job_id)
    oldest = [transaction.execute(select(func.min(column))).scalar() for column in ids]
    return min((_without_prefix(found) for found in oldest if found is not None), default=None)


def _without_prefix(name: str) -> str:
    return name.partition("_")[2]


def _sweep_temporary(settings: Settings) -> int:
    latest = time.time() - DAY
    entries = [path for name in TEMPORARY_FOLDERS for path in (settings.data_dir / name).glob("*")]
    old = [entry for entry in entries if _last_written(entry) <= latest]
    for entry in old:
        delete_path(entry)
    return len(old)


def _last_written(entry: Path) -> float:
    """Return Unix seconds of the newest change to a file, or to a folder and all in it."""
    try:
        return max(path.lstat().st_mtime for path in (entry, *entry.rglob("*")))
    except FileNotFoundError:  # in use, so not old
        return time.time()


def _sweep_keys(database: Database) -> int:
    old = idempotency_keys.c.created_at < database_now() - KEPT_SECONDS
    # Of a request that died before the clock was set back; it is abandoned some time from now.
    early = idempotency_keys.c.created_at > database_now()
    with database.write() as transaction:
        changed = update(idempotency_keys).where(early).values(created_at=database_now())
        transaction.execute(changed)
        return transaction.execute(delete(idempotency_keys).where(old)).rowcount


def _sweep_events(settings: Settings, database: Database) -> int:
    # The search for events takes no lock: a finished job does not change any more.
    of_epochs = events.c.type == "epoch"
    ended_before = database_now() - settings.keep_events_days * DAY
    over = jobs.c.state.in_(TERMINAL) & (jobs.c.finished_at < ended_before)
    query = (
        select(events.c.job_id, func.min(events.c.sequence), func.max(events.c.sequence))
        .join(jobs, jobs.c.id == events.c.job_id)
        .where(over, of_epochs)
        .group_by(events.c.job_id)
    )
    with database.read() as transaction:
        found = transaction.execute(query).all()
    num_deleted = 0
    for job_id, first, last in found:
        for start in range(first, last + 1, EVENTS_PER_TRANSACTION):
            numbers = events.c.sequence.between(start, start + EVENTS_PER_TRANSACTION - 1)
            part = delete(events).where(events.c.job_id == job_id, numbers, of_epochs)
            with database.write() as transaction:
                num_deleted += transaction.execute(part).rowcount
    return num_deleted
