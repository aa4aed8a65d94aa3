"""Back up an embedded service into one tar file while the service runs."""

import hashlib
import io
import json
import os
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal

from dropout_core.config import Config
from dropout_core.files import sync_folder
from store import models
from store.artifacts.artifact_store import JOBS, ArtifactStore
from store.datasets import ACTIVE
from store.errors import ArtifactDamaged
from store.settings import SQLITE_FILE, Settings

MANIFEST = "manifest.json"
ARTIFACTS = "artifacts"  # their folder in the tar

SUFFIXES = (".tar", ".tar.gz", ".tgz")
_BUSY_TIMEOUT_SECONDS = 30
_COMPRESSION_LEVEL = 6  # gzip's default; tarfile's takes twice the time to save one percent
_LISTINGS = 3


class Manifest(Config):
    """A backup's description: `sha256` of each other member.

    `lost` are the artifacts of rows that are not in it, because they were missing or damaged.
    """

    format_version: Literal[1] = 1
    created_at: str  # RFC 3339
    schema_revision: str
    sha256: dict[str, str]
    lost: list[str]


class CannotBackUp(Exception):
    """There is nothing to back up, or this service cannot be backed up."""


@dataclass(frozen=True)
class Backup:
    """The contents of a backup; `lost` are the missing artifacts of rows.

    `damaged` artifacts do not match their checksums, and are left out.
    """

    num_datasets: int
    num_models: int
    num_unfinished_jobs: int
    size_bytes: int
    lost: list[str]
    damaged: list[str]


def backup(settings: Settings, artifacts: ArtifactStore, target: Path) -> Backup:
    """Write `target`, a tar or tar.gz according to its name, completely or not at all.

    It holds a copy of the database, by SQLite's online backup, the artifacts of the copy's datasets
    and models, all artifacts of the copy's unfinished jobs, and a manifest with their SHA-256. The
    service continues meanwhile: nothing waits for a backup.

    The database is copied first, because an artifact is put before its row and deleted after it.
    Every artifact of a copied row existed then, and is deleted by now only if its row is deleted
    too. The running database is checked for that at the end: if a row was deleted, the database is
    copied again. With the artifacts first, a row made in between would lack its artifact.

    An unfinished job needs none of its artifacts: without its newest checkpoint it resumes from an
    older one, or from the start, and ends with the same bits.

    Artifacts that are missing or damaged are left out, so that a backup of the others can be made.

    Raises CannotBackUp, and OSError if `target` cannot be written.
    """
    if not target.name.endswith(SUFFIXES):
        raise CannotBackUp(f"the name of {target} must end in one of {', '.join(SUFFIXES)}")
    source = _database_path(settings)
    try:
        return _back_up(source, artifacts, target)
    except sqlite3.Error as error:
        raise CannotBackUp(f"the database at {source} cannot be copied: {error}") from error


def _back_up(source: Path, artifacts: ArtifactStore, target: Path) -> Backup:
    with (
        closing(_connect(source)) as live,
        tempfile.TemporaryDirectory(dir=target.parent, prefix=".backup-") as folder,
    ):
        temporary = Path(folder) / target.name
        copy = Path(folder) / SQLITE_FILE
        with _durable_tar(temporary) as tar:
            archive = _Archive(tar)
            rows, lost = _copy_all(live, copy, artifacts, archive)
            damaged = sorted(archive.damaged)
            archive.add(SQLITE_FILE, copy)
            archive.add_manifest(_manifest(copy, archive.members, [*lost, *damaged]))
        made = Backup(
            num_datasets=len(rows.datasets),
            num_models=len(rows.models),
            num_unfinished_jobs=len(rows.unfinished_jobs),
            size_bytes=temporary.stat().st_size,
            lost=lost,
            damaged=damaged,
        )
        temporary.replace(target)
    sync_folder(target.parent)
    return made


@dataclass(frozen=True)
class _Rows:
    """References of rows: the datasets' keys, the models' prefixes, the unfinished jobs' ids.

    Each model has its manifest.
    """

    datasets: set[str]
    models: dict[str, dict[str, Any]]
    unfinished_jobs: set[str]


class _Archive:
    """A tar to which each member is added once; `members` has the SHA-256 of each.

    `damaged` are the artifacts that were left out because they do not match their checksums.
    """

    def __init__(self, tar: tarfile.TarFile) -> None:
        self.members: dict[str, str] = {}
        self.damaged: set[str] = set()
        self._tar = tar

    def add(self, name: str, path: Path) -> None:
        """Add a file, completely even if it is deleted meanwhile. Raises FileNotFoundError."""
        if name in self.members:
            return
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            member = _member(name, size=status.st_size, modified_at=status.st_mtime)
            digest = hashlib.file_digest(file, "sha256")
            file.seek(0)
            self._tar.addfile(member, file)
        self.members[name] = digest.hexdigest()

    def add_artifact(self, artifacts: ArtifactStore, key: str) -> bool:
        """Add the artifact unless it is damaged, and return whether it exists."""
        try:
            self.add(f"{ARTIFACTS}/{key}", artifacts.fetch(key))
        except FileNotFoundError:
            return False
        except ArtifactDamaged:
            self.damaged.add(key)
        return True

    def add_model(self, artifacts: ArtifactStore, prefix: str, manifest: dict[str, Any]) -> bool:
        """Add a model's files unless one is damaged; False if one is missing."""
        try:
            damaged = models.damaged_files(artifacts, prefix, manifest)
        except FileNotFoundError:
            return False
        self.damaged |= set(damaged)
        return bool(damaged) or self.add_below(artifacts, prefix)

    def add_below(self, artifacts: ArtifactStore, prefix: str) -> bool:
        """Add all artifacts below `prefix`; False if there is none or one was deleted meanwhile."""
        keys = artifacts.list(prefix)
        return bool(keys) and [self.add_artifact(artifacts, key) for key in keys].count(False) == 0

    def add_manifest(self, content: bytes) -> None:
        member = _member(MANIFEST, size=len(content), modified_at=time.time())
        self._tar.addfile(member, io.BytesIO(content))


def _database_path(settings: Settings) -> Path:
    """Return the path of the database file. Raises CannotBackUp."""
    path = settings.sqlite_path
    if path is None:
        raise CannotBackUp(
            "the database is PostgreSQL: back it up with pg_dump, and then copy the artifacts in "
            f"{settings.artifact_root}"
        )
    if settings.artifact_url is not None:
        raise CannotBackUp(
            f"the artifacts are in {settings.artifact_url}: copy {path} with sqlite3's "
            ".backup, and then the bucket with its own tools"
        )
    if not path.is_file():
        raise CannotBackUp(f"there is no database at {path}")
    return path


def _connect(path: Path) -> sqlite3.Connection:
    """Connect to an existing database; never create one."""
    uri = f"{path.resolve().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_SECONDS)


def _copy_all(
    live: sqlite3.Connection, copy: Path, artifacts: ArtifactStore, archive: _Archive
) -> tuple[_Rows, list[str]]:
    """Copy the database to `copy`, and add the artifacts that its rows refer to.

    Returns the references, and the missing artifacts.
    """
    while True:
        copy.unlink(missing_ok=True)
        archive.damaged.clear()
        with closing(sqlite3.connect(copy)) as connection:
            live.backup(connection)
            rows = _rows(connection)
        lost = [key for key in sorted(rows.datasets) if not archive.add_artifact(artifacts, key)]
        lost += [
            prefix
            for prefix, manifest in sorted(rows.models.items())
            if not archive.add_model(artifacts, prefix, manifest)
        ]
        for job_id in sorted(rows.unfinished_jobs):
            # A trainer deletes its oldest checkpoint after it has put a new one: a listing can be
            # stale.
            for _ in range(_LISTINGS):
                if archive.add_below(artifacts, f"{JOBS}/{job_id}"):
                    break
        now = _rows(live)
        if rows.datasets <= now.datasets and rows.models.keys() <= now.models.keys():
            return rows, lost


def _rows(connection: sqlite3.Connection) -> _Rows:
    def column(query: str, *values: str) -> set[str]:
        return {value for (value,) in connection.execute(query, values)}

    return _Rows(
        datasets=column("SELECT artifact FROM datasets"),
        models={
            artifact: json.loads(manifest)
            for artifact, manifest in connection.execute("SELECT artifact, manifest FROM models")
        },
        unfinished_jobs=column("SELECT id FROM jobs WHERE state IN (?, ?, ?, ?)", *ACTIVE),
    )


def _manifest(copy: Path, members: dict[str, str], lost: list[str]) -> bytes:
    with closing(sqlite3.connect(copy)) as connection:
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    manifest = Manifest(
        created_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        schema_revision=revision,
        sha256=members,
        lost=lost,
    )
    return manifest.model_dump_json(indent=2).encode()


@contextmanager
def _durable_tar(path: Path) -> Iterator[tarfile.TarFile]:
    with path.open("wb") as file:
        with _new_tar(file, compressed=not path.name.endswith(".tar")) as tar:
            yield tar
        file.flush()
        os.fsync(file.fileno())


def _new_tar(file: BinaryIO, *, compressed: bool) -> tarfile.TarFile:
    if compressed:
        return tarfile.open(fileobj=file, mode="w:gz", compresslevel=_COMPRESSION_LEVEL)
    return tarfile.open(fileobj=file, mode="w")


def _member(name: str, *, size: int, modified_at: float) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mtime = int(modified_at)
    return member
