"""What nobody needs any more is deleted: see docs/decisions/0011 for why no commit loses its files.

An artifact is needed while a row says so, and for a while after it was put, because artifacts are
put before the row that refers to them.
"""

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from sqlalchemy import ColumnElement, Connection, delete, func, make_url, select
from sqlalchemy.exc import SQLAlchemyError

from store.access.idempotency import KEPT_SECONDS
from store.artifacts.artifact_store import DATASETS, JOBS, ArtifactStore
from store.database.engine import Database
from store.database.tables import database_now, datasets, events, idempotency_keys, jobs, models
from store.datasets import ACTIVE
from store.jobs import TERMINAL
from store.settings import SQLITE_FILE, Settings

HOUR = 3600.0
DAY = 24 * HOUR
ASIDE = ("uploads", "scratch")  # the folders of the data directory where files are made
EVENTS_AT_ONCE = 1000  # that one transaction deletes: others wait for it
STOP_SECONDS = 5.0  # what a sweep that is cut short leaves is for the next

log = structlog.get_logger()


@dataclass(frozen=True)
class Swept:
    """How much was deleted."""

    num_artifacts: int
    num_aside: int
    num_keys: int
    num_events: int


@contextmanager
def sweeping(settings: Settings, database: Database, artifacts: ArtifactStore) -> Iterator[None]:
    """Sweep at once and then every `sweep_seconds`, beside the block, which no failure reaches."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            try:
                sweep(settings, database, artifacts)
            except Exception as error:
                log.warning("what nobody needs was not deleted", error=repr(error))
            stop.wait(settings.sweep_seconds)

    thread = threading.Thread(target=run, name="sweeper", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(STOP_SECONDS)


def sweep(settings: Settings, database: Database, artifacts: ArtifactStore) -> Swept:
    """Delete what nobody needs. Safe at any time, and from several processes at once.

    - Of jobs that are over, or deleted, all but the models that have a row, once it is older than a
      lease: checkpoints, folds, and whatever attempts left that did not end the job.
    - Tables without a dataset, older than an hour.
    - Uploads and scratch files older than a day.
    - Idempotency keys older than a day.
    - Of jobs that have been over for `keep_events_days`, the events of epochs, which are most of a
      job's, and whose numbers stay in its metrics. What else happened to it stays.

    Of artifacts nothing is deleted that is older than every row, or that has another database
    beside it: it may not be this database's.
    """
    swept = Swept(
        num_artifacts=_deleted(lambda: _sweep_artifacts(settings, database, artifacts)),
        num_aside=_deleted(
            lambda: sum(_sweep_aside(settings.data_dir / name, seconds=DAY) for name in ASIDE)
        ),
        num_keys=_deleted(lambda: _sweep_keys(database)),
        num_events=_deleted(
            lambda: _sweep_events(database, seconds=settings.keep_events_days * DAY)
        ),
    )
    if any(vars(swept).values()):
        log.info("deleted what nobody needs", **vars(swept))
    return swept


def _deleted(sweep_one: Callable[[], int]) -> int:
    """How many; if it fails, it is left for the next sweep, and nothing of the others."""
    try:
        return sweep_one()
    except (OSError, SQLAlchemyError) as error:
        log.warning("what nobody needs was not deleted", error=repr(error))
        return 0


def _sweep_artifacts(settings: Settings, database: Database, artifacts: ArtifactStore) -> int:
    if _belong_to_another(settings):
        log.warning("artifacts are left alone: they may be of the dropout.db beside them")
        return 0
    # The keys come first: a job's row is there before its files are, so a key that is listed and
    # whose job is not found then belongs to a job that was deleted, and not to a new one.
    of_jobs = artifacts.aged(JOBS, seconds=settings.lease_seconds)
    of_datasets = artifacts.aged(DATASETS, seconds=HOUR)
    with database.read() as transaction:
        needed = _needed(transaction)
    unneeded = [key for key in of_jobs + of_datasets if not needed.includes(key)]
    for key in unneeded:
        artifacts.delete(key)
    return len(unneeded)


def _belong_to_another(settings: Settings) -> bool:
    """Whether the data directory has a database, and the one in force is another."""
    if settings.artifact_url is not None:
        return False  # they do not lie beside it
    beside = settings.data_dir / SQLITE_FILE
    url = make_url(settings.database)
    in_force = Path(url.database or "") if url.get_backend_name() == "sqlite" else None
    return beside.exists() and (in_force is None or in_force.resolve() != beside.resolve())


@dataclass(frozen=True)
class _Needed:
    """What rows say of artifacts. Ids are without their prefixes: they sort by time."""

    active_jobs: set[str]
    artifacts: set[str]  # of datasets and of models
    oldest_id: str | None

    def includes(self, key: str) -> bool:
        folders = key.split("/")
        prefixes = ("/".join(folders[:end]) for end in range(1, len(folders) + 1))
        return (
            folders[1] in self.active_jobs
            or any(prefix in self.artifacts for prefix in prefixes)
            or self._is_older_than_the_database(folders[1])
        )

    def _is_older_than_the_database(self, name: str) -> bool:
        """Whether no row is as old as what is named, so that it may be another database's."""
        return self.oldest_id is None or _without_prefix(name) < self.oldest_id


def _needed(transaction: Connection) -> _Needed:
    def column(wanted: ColumnElement[str], *conditions: ColumnElement[bool]) -> set[str]:
        return set(transaction.execute(select(wanted).where(*conditions)).scalars())

    return _Needed(
        # The jobs before the models: one that is over has its model's row already.
        active_jobs=column(jobs.c.id, jobs.c.state.in_(ACTIVE)),
        artifacts=column(models.c.artifact) | column(datasets.c.artifact),
        oldest_id=_oldest_id(transaction),
    )


def _oldest_id(transaction: Connection) -> str | None:
    """The oldest that any row has or mentions."""
    ids = (datasets.c.id, jobs.c.id, jobs.c.dataset_id, models.c.id, models.c.job_id)
    oldest = [transaction.execute(select(func.min(column))).scalar() for column in ids]
    return min((_without_prefix(found) for found in oldest if found is not None), default=None)


def _without_prefix(name: str) -> str:
    return name.partition("_")[2]


def _sweep_aside(folder: Path, *, seconds: float) -> int:
    latest = time.time() - seconds
    old = [entry for entry in _entries(folder) if _last_written(entry) <= latest]
    for entry in old:
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    return len(old)


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _last_written(entry: Path) -> float:
    """Unix seconds of the newest change to a file or a folder and all in it."""
    return max(_times([entry, *entry.rglob("*")]))


def _times(paths: Iterable[Path]) -> Iterator[float]:
    for path in paths:
        try:
            yield path.lstat().st_mtime
        except FileNotFoundError:  # in use, so not old
            yield time.time()


def _sweep_keys(database: Database) -> int:
    old = idempotency_keys.c.created_at < database_now() - KEPT_SECONDS
    with database.write() as transaction:
        return transaction.execute(delete(idempotency_keys).where(old)).rowcount


def _sweep_events(database: Database, *, seconds: float) -> int:
    # Who looks for events takes no lock, and what is over does not change any more.
    of_epochs = events.c.type == "epoch"
    over = jobs.c.state.in_(TERMINAL) & (jobs.c.finished_at < database_now() - seconds)
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
        for start in range(first, last + 1, EVENTS_AT_ONCE):
            numbers = events.c.sequence.between(start, start + EVENTS_AT_ONCE - 1)
            part = delete(events).where(events.c.job_id == job_id, numbers, of_epochs)
            with database.write() as transaction:
                num_deleted += transaction.execute(part).rowcount
    return num_deleted
