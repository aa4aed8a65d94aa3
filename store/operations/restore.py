"""A backup becomes a data directory again, whole or not at all."""

import hashlib
import os
import shutil
import tarfile
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, delete, select
from sqlalchemy.exc import DBAPIError

from dropout_core.files import sync_folder
from store import jobs
from store.database.engine import MIGRATIONS, Database
from store.database.tables import idempotency_keys
from store.database.tables import jobs as jobs_table
from store.jobs import Claim
from store.operations.backup import ARTIFACTS, MANIFEST, Manifest
from store.operations.lifetime import only_one
from store.settings import SQLITE_FILE, Settings

LOCKS = ("serve.lock", "worker.lock")  # of whoever serves a data directory

_CHUNK_BYTES = 1024**2
# What a tar says that no backup is, on the way or in the end.
_BROKEN = (
    tarfile.TarError,
    EOFError,
    ValueError,
    TypeError,  # of a gzip header that ends too soon
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
)


class CannotRestore(Exception):
    """The file is no whole backup, or there is no place for what it holds."""


@dataclass(frozen=True)
class Restored:
    """`num_resumed` jobs ran at the backup and wait in the queue; `lost` was so at the backup."""

    created_at: str
    num_artifacts: int
    num_resumed: int
    lost: list[str]


def restore(settings: Settings, source: Path) -> Restored:
    """Fill a data directory that is empty or not there with what `backup` wrote to `source`.

    All is unpacked aside, in the data directory, and compared with the manifest; the database is
    brought to today's schema, and its running jobs are handed back, uncharged. Then it is put in
    place, the database last: without it nothing of the rest counts.

    Raises CannotRestore, AlreadyRunning if a service has the data directory, and OSError.
    """
    _require_own_database(settings)
    folder = settings.data_dir
    with source.open("rb") as file:
        _require_empty(folder)
        with only_one(folder / LOCKS[0]), only_one(folder / LOCKS[1]):
            _require_empty(folder)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".restore-") as aside:
                manifest = _unpack(file, Path(aside), name=source)
                num_resumed = _make_current(Path(aside) / SQLITE_FILE, name=source)
                _put_in_place(Path(aside), folder)
    return Restored(
        created_at=manifest.created_at,
        num_artifacts=len(manifest.sha256) - 1,
        num_resumed=num_resumed,
        lost=list(manifest.lost),
    )


def _require_own_database(settings: Settings) -> None:
    if settings.database.startswith("postgresql"):
        raise CannotRestore(
            "the records are in PostgreSQL: restore them with pg_restore, after copying the "
            f"artifacts to {settings.artifact_root}"
        )
    if settings.database != f"sqlite:///{settings.data_dir / SQLITE_FILE}":
        raise CannotRestore(
            "DROPOUT_DATABASE_URL names another place than the data directory, where a backup's "
            "database goes"
        )
    if settings.artifact_url is not None:
        raise CannotRestore(
            f"a backup's artifacts go to the data directory, and {settings.artifact_url} is set"
        )


def _require_empty(folder: Path) -> None:
    if not folder.exists():
        return
    found = sorted(path.name for path in folder.iterdir() if path.name not in LOCKS)
    if found:
        raise CannotRestore(
            f"{folder} is not empty, it has {found[0]!r}: restore needs an empty or a new folder"
        )


def _unpack(file: IO[bytes], folder: Path, *, name: Path) -> Manifest:
    """Unpack a backup into a folder; its manifest, with which all of it agrees."""
    try:
        with tarfile.open(fileobj=file, mode="r|*") as tar:
            found = {member.name: _unpack_member(tar, member, folder) for member in tar}
        if not found.keys() >= {MANIFEST, SQLITE_FILE}:
            raise tarfile.ReadError("it has no manifest or no database")
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except _BROKEN as error:
        raise CannotRestore(f"{name} is no whole backup: {_first_line(error)}") from error
    del found[MANIFEST]
    for member in sorted(manifest.sha256.keys() | found.keys()):
        if manifest.sha256.get(member) != found.get(member):
            raise CannotRestore(f"{name} is damaged at {member!r}")
    if manifest.schema_revision not in _known_revisions():
        raise CannotRestore(
            f"{name} is of a newer release, with schema {manifest.schema_revision!r}"
        )
    return manifest


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> str:
    """Write a member below the folder; its SHA-256. Raises TarError if it is none of a backup's."""
    safe = tarfile.data_filter(member, str(folder))
    parts = PurePosixPath(safe.name).parts
    is_ours = safe.name in (MANIFEST, SQLITE_FILE) or (
        parts[:1] == (ARTIFACTS,) and ".." not in parts
    )
    content = tar.extractfile(safe) if safe.isreg() else None
    if not is_ours or content is None:
        raise tarfile.ReadError(f"{member.name!r} does not belong there")
    path = folder / safe.name
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with content, path.open("xb") as target:  # a name that comes twice is an error
        while chunk := content.read(_CHUNK_BYTES):
            digest.update(chunk)
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    return digest.hexdigest()


def _known_revisions() -> set[str]:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}


def _make_current(path: Path, *, name: Path) -> int:
    """Migrate a database, and end what was going on in it; how many jobs are handed back."""
    try:
        with closing(Database(f"sqlite:///{path}")) as database:
            database.migrate()
            with database.write() as transaction:
                _forget_requests(transaction)
                return _hand_back(transaction)
    except DBAPIError as error:
        raise CannotRestore(f"{name} has a damaged database: {error.orig}") from error
    except CommandError as error:  # of a schema that no release had
        raise CannotRestore(f"{name} has a damaged database: {error}") from error


def _forget_requests(transaction: Connection) -> None:
    """Free the keys of requests that nobody will answer any more."""
    in_flight = idempotency_keys.c.status.is_(None)
    transaction.execute(delete(idempotency_keys).where(in_flight))


def _hand_back(transaction: Connection) -> int:
    """Requeue what ran, whose workers are gone, and end what was asked to stop."""
    ran = jobs_table.c.state.in_(("running", "cancelling"))
    claims = transaction.execute(select(jobs_table.c.id, jobs_table.c.attempt).where(ran)).all()
    return [jobs.release(transaction, Claim(row.id, row.attempt)).state for row in claims].count(
        "queued"
    )


def _put_in_place(aside: Path, folder: Path) -> None:
    for path in aside.rglob("*"):
        if path.is_dir():
            sync_folder(path)
    placed: list[Path] = []
    try:
        for name in (ARTIFACTS, SQLITE_FILE):
            target = folder / name
            if target.exists():
                raise CannotRestore(f"{target} has come to be meanwhile")
            if (aside / name).exists():
                (aside / name).rename(target)
                placed.append(target)
                sync_folder(folder)
    except BaseException:
        for target in reversed(placed):
            _delete(target)
        raise


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
