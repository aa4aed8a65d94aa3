"""Restore a data directory from a backup, completely or not at all."""

import os
import shutil
import tarfile
import tempfile
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from alembic.util import CommandError
from sqlalchemy import Connection, delete, select
from sqlalchemy.exc import DBAPIError

from dropout_core.files import delete_path, sha256_of, sync_folder
from store import jobs, models
from store.artifacts.checksums import digest_in
from store.artifacts.local_folder import LocalArtifacts
from store.database.engine import Database, known_revisions
from store.database.tables import idempotency_keys
from store.database.tables import jobs as jobs_table
from store.database.tables import models as models_table
from store.errors import NewerDatabase
from store.jobs import Claim
from store.operations.backup import ARTIFACTS, MANIFEST, Manifest
from store.operations.lifetime import only_one
from store.operations.private_files import LOCKS
from store.settings import SQLITE_FILE, Settings

# The errors of a tar that is damaged or not a backup.
_FORMAT_ERRORS = (
    tarfile.TarError,
    EOFError,
    ValueError,
    TypeError,  # from a truncated gzip header
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
)


class CannotRestore(Exception):
    """The file is not a complete backup, or the data directory cannot take it."""


@dataclass(frozen=True)
class Restored:
    """The result. `num_resumed` running jobs are queued again; `lost` was missing in the backup.

    `damaged` artifacts were damaged when they were backed up; the service refuses to read them.
    """

    created_at: str
    num_artifacts: int
    num_resumed: int
    lost: list[str]
    damaged: list[str]


def restore(settings: Settings, source: Path) -> Restored:
    """Fill an empty or missing data directory from the backup `source`.

    All files are unpacked to a temporary folder in the data directory and compared with the
    manifest. The database is migrated to the current schema, and its running jobs are requeued
    without counting a failure. Then the files are moved into the data directory, the database last:
    without it the other files are unused.

    Raises CannotRestore, AlreadyRunning if a service uses the data directory, and OSError.
    """
    _require_own_database(settings)
    folder = settings.data_dir
    with source.open("rb") as file:
        _require_empty(folder)
        with only_one(folder / LOCKS[0]), only_one(folder / LOCKS[1]):
            _require_empty(folder)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".restore-") as temporary:
                manifest = _unpack(file, Path(temporary), name=source)
                num_resumed = _migrate(Path(temporary) / SQLITE_FILE, name=source)
                damaged = _damaged(Path(temporary), manifest)
                _move_files(Path(temporary), folder)
    return Restored(
        created_at=manifest.created_at,
        num_artifacts=len(manifest.sha256) - 1,
        num_resumed=num_resumed,
        lost=list(manifest.lost),
        damaged=damaged,
    )


def _require_own_database(settings: Settings) -> None:
    if settings.database.startswith("postgresql"):
        raise CannotRestore(
            "the database is PostgreSQL: copy the artifacts to "
            f"{settings.artifact_root}, and then restore the database with pg_restore"
        )
    if settings.database != f"sqlite:///{settings.data_dir / SQLITE_FILE}":
        raise CannotRestore(
            "DROPOUT_DATABASE_URL names a database outside the data directory, where a backup's "
            "database is restored: unset it"
        )
    if settings.artifact_url is not None:
        raise CannotRestore(
            "a backup's artifacts are restored to the data directory, but DROPOUT_ARTIFACT_URL is "
            f"{settings.artifact_url}: unset it"
        )


def _require_empty(folder: Path) -> None:
    found = sorted(path.name for path in folder.glob("*") if path.name not in LOCKS)
    if found:
        raise CannotRestore(
            f"{folder} is not empty, it contains {found[0]!r}: restore to an empty or a new folder"
        )


def _unpack(file: IO[bytes], folder: Path, *, name: Path) -> Manifest:
    """Unpack a backup into a folder, check it against its manifest, and return the manifest."""
    try:
        with tarfile.open(fileobj=file, mode="r|*") as tar:
            found = {member.name: _unpack_member(tar, member, folder) for member in tar}
        if not found.keys() >= {MANIFEST, SQLITE_FILE}:
            raise tarfile.ReadError("it has no manifest or no database")
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except _FORMAT_ERRORS as error:
        reason, _, _ = str(error).partition("\n")
        raise CannotRestore(f"{name} is not a complete backup: {reason}") from error
    del found[MANIFEST]
    for member in sorted(manifest.sha256.keys() | found.keys()):
        if manifest.sha256.get(member) != found.get(member):
            raise CannotRestore(f"{name} is damaged at {member!r}")
    if manifest.schema_revision not in known_revisions():
        raise CannotRestore(
            f"{name} comes from a newer release, with schema {manifest.schema_revision!r}"
        )
    return manifest


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> str:
    """Write a member below the folder, and return its SHA-256. Raises TarError if it is foreign."""
    safe = tarfile.data_filter(member, str(folder))
    parts = PurePosixPath(safe.name).parts
    is_ours = safe.name in (MANIFEST, SQLITE_FILE) or (
        parts[:1] == (ARTIFACTS,) and ".." not in parts
    )
    content = tar.extractfile(safe) if safe.isreg() else None
    if not is_ours or content is None:
        raise tarfile.ReadError(f"{member.name!r} does not belong in a backup")
    path = folder / safe.name
    path.parent.mkdir(parents=True, exist_ok=True)
    with content, path.open("xb") as target:  # a duplicate name is an error
        shutil.copyfileobj(content, target)
        target.flush()
        os.fsync(target.fileno())
    return sha256_of(path)


def _migrate(path: Path, *, name: Path) -> int:
    """Migrate a database, requeue its running jobs, and return how many jobs are queued again."""
    try:
        with closing(Database(f"sqlite:///{path}")) as database:
            database.migrate()
            with database.write() as transaction:
                # Nobody will answer the requests in flight.
                in_flight = idempotency_keys.c.status.is_(None)
                transaction.execute(delete(idempotency_keys).where(in_flight))
                return _requeue_jobs(transaction)
    except DBAPIError as error:
        raise CannotRestore(f"{name} has a damaged database: {error.orig}") from error
    except (NewerDatabase, CommandError) as error:  # no release had its schema
        raise CannotRestore(f"{name} has a damaged database: {error}") from error


def _damaged(folder: Path, manifest: Manifest) -> list[str]:
    """Return the keys of artifacts that the backup holds as they were: damaged.

    Releases that did not compare them with their checksums made such backups.
    """
    artifacts = LocalArtifacts(folder / ARTIFACTS)
    damaged = [
        key
        for key in artifacts.list("")
        if digest_in(key) not in (None, manifest.sha256[f"{ARTIFACTS}/{key}"])
    ]
    database = Database(f"sqlite:///{folder / SQLITE_FILE}")
    with closing(database), database.read() as transaction:
        query = select(models_table.c.artifact, models_table.c.manifest)
        rows = transaction.execute(query).all()
    for row in rows:
        with suppress(FileNotFoundError):  # lost before
            damaged += models.damaged_files(artifacts, row.artifact, row.manifest)
    return damaged


def _requeue_jobs(transaction: Connection) -> int:
    """Requeue running jobs, whose workers are dead, and end cancelling jobs."""
    active = jobs_table.c.state.in_(("running", "cancelling"))
    claims = transaction.execute(select(jobs_table.c.id, jobs_table.c.attempt).where(active)).all()
    states = [jobs.release(transaction, Claim(row.id, row.attempt)).state for row in claims]
    return states.count("queued")


def _move_files(temporary: Path, folder: Path) -> None:
    for path in temporary.rglob("*"):
        if path.is_dir():
            sync_folder(path)
    with ExitStack() as undo:
        for name in (ARTIFACTS, SQLITE_FILE):
            target = folder / name
            if target.exists():
                raise CannotRestore(f"{target} was created during the restore")
            if (temporary / name).exists():
                (temporary / name).rename(target)
                undo.callback(delete_path, target)
                sync_folder(folder)
        undo.pop_all()
