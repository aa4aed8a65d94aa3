"""Files by key: immutable once put, in a folder or in a bucket."""

from pathlib import Path
from typing import Protocol

import structlog

from store.artifacts.file_cache import FileCache
from store.artifacts.local_folder import LocalArtifacts
from store.settings import Settings

# What keys begin with: the id of a dataset or a job follows.
DATASETS = "datasets"
JOBS = "jobs"

log = structlog.get_logger()


class ArtifactStore(Protocol):
    """Keys are relative paths with `/`; a key is put once and never changed.

    A store may be pickled, for a process that is to use the same one.
    """

    def put(self, key: str, source: Path) -> None:
        """Move the file `source` to `key`: whole and durable once this returns."""

    def fetch(self, key: str) -> Path:
        """A local file to read the artifact from. Raises FileNotFoundError."""

    def aged(self, prefix: str, *, seconds: float) -> list[str]:
        """Every key below `prefix/` put so long ago, on the store's own clock, sorted; and what
        puts that were cut short have left.
        """

    def list(self, prefix: str) -> list[str]:
        """Every key below `prefix/`, sorted."""

    def delete(self, prefix: str) -> None:
        """Delete the artifact `prefix`, or all below it; nothing there is no error."""

    def writable(self) -> None:
        """Raise OSError unless a file can be written."""


def open_artifacts(settings: Settings) -> ArtifactStore:
    """The artifact store that the settings name."""
    if settings.artifact_url is None:
        return LocalArtifacts(settings.artifact_root)
    from store.artifacts.bucket import Bucket  # which need not be loaded where there is none

    cache = FileCache(settings.artifact_cache, max_bytes=settings.artifact_cache_bytes)
    return Bucket(settings.artifact_url, cache)


def discard(artifacts: ArtifactStore, prefix: str) -> None:
    """Delete what no row refers to; if that fails, it is left for the sweep."""
    try:
        artifacts.delete(prefix)
    except OSError as error:
        log.warning("an artifact is left for the sweep", artifact=prefix, error=str(error))
