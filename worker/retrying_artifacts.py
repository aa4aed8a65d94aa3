"""Retry calls to the artifact storage: a trainer that ended would lose its recent work."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog

from store.artifacts.artifact_store import ArtifactStore
from store.errors import StorageUnavailable

RETRY_SECONDS = 2.0

log = structlog.get_logger()

T = TypeVar("T")


@dataclass(frozen=True)
class RetryingArtifacts:
    """An artifact store that retries every call while the storage is unavailable."""

    store: ArtifactStore
    timeout_seconds: float = 600

    def put(self, key: str, source: Path) -> None:
        self._try(lambda: self.store.put(key, source))

    def fetch(self, key: str) -> Path:
        return self._try(lambda: self.store.fetch(key))

    def list_older_than(self, prefix: str, *, seconds: float) -> list[str]:
        return self._try(lambda: self.store.list_older_than(prefix, seconds=seconds))

    def list(self, prefix: str) -> list[str]:
        return self._try(lambda: self.store.list(prefix))

    def delete(self, prefix: str) -> None:
        self._try(lambda: self.store.delete(prefix))

    def require_writable(self) -> None:
        self._try(self.store.require_writable)

    def _try(self, call: Callable[[], T]) -> T:
        deadline = time.monotonic() + self.timeout_seconds
        while True:
            try:
                return call()
            except StorageUnavailable as error:
                if time.monotonic() >= deadline:
                    raise
                log.warning("the artifact storage does not answer", error=str(error))
            time.sleep(RETRY_SECONDS)
