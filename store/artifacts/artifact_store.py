"""The interface of artifact stores: immutable files by key, in a folder or in a bucket."""

from pathlib import Path
from typing import Protocol

import structlog

from store.artifacts.file_cache import FileCache
from store.artifacts.local_folder import LocalArtifacts
from store.settings import Settings

# The first part of a key; the id of a dataset or a job follows.
DATASETS = "datasets"
JOBS = "jobs"

log = structlog.get_logger()


class ArtifactStore(Protocol):
    """A store of immutable files. Keys are relative paths with `/`; each is put only once.

    A store can be pickled, so that another process uses the same one.
    """

    def put(self, key: str, source: Path) -> None:
        """Move the file `source` to `key`: complete and durable once this returns."""

    def fetch(self, key: str) -> Path:
        """Return a local file with the artifact's content.

        Raises FileNotFoundError, and ArtifactDamaged if it does not match the checksum in its key.
        """

    def list_older_than(self, prefix: str, *, seconds: float) -> list[str]:
        """Return the sorted keys below `prefix/` that are at least `seconds` old on the store's own
        clock, including the temporary files of interrupted puts.
        """

    def list(self, prefix: str) -> list[str]:
        """Return every key below `prefix/`, sorted."""

    def delete(self, prefix: str) -> None:
        """Delete the artifact `prefix`, or all below it; a missing one is no error."""

    def require_writable(self) -> None:
        """Raise OSError unless a file can be written."""


def open_artifacts(settings: Settings) -> ArtifactStore:
    """Return the artifact store that the settings name."""
    if settings.artifact_url is None:
        return LocalArtifacts(settings.artifact_root)
    from store.artifacts.bucket import Bucket  # loaded only where a bucket is configured

    cache = FileCache(settings.artifact_cache, max_bytes=settings.artifact_cache_bytes)
    return Bucket(settings.artifact_url, cache)


def discard(artifacts: ArtifactStore, prefix: str) -> None:
    """Delete artifacts that no row refers to; if that fails, the sweep deletes them later."""
    try:
        artifacts.delete(prefix)
    except OSError as error:
        log.warning(
            "an artifact was not deleted; the sweep will delete it",
            artifact=prefix,
            error=str(error),
        )
