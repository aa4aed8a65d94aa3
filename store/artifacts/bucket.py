"""Artifacts as the objects of an S3-compatible bucket. See docs/decisions/0013.

Credentials, region and endpoint come from the usual environment variables of S3 clients, such as
AWS_ENDPOINT_URL, when the bucket is first used.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from store.artifacts.checksums import checked
from store.artifacts.file_cache import FileCache
from store.errors import ArtifactDamaged, StorageUnavailable

if TYPE_CHECKING:  # these names exist for type checkers only
    from obstore import ObjectMeta
    from obstore.store import ClientConfig, RetryConfig

PART_BYTES = 8 * 1024**2  # larger files are sent in parts of this size
PARTS_AT_ONCE = 4

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_TIMEOUTS: "ClientConfig" = {
    "connect_timeout": timedelta(seconds=3),
    "read_timeout": timedelta(seconds=20),  # since the last byte
    "timeout": timedelta(minutes=10),  # for a whole request, including a download of gigabytes
}
_RETRIES: "RetryConfig" = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=10),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2)},
}
# Internal objects. Names that begin with a dot are never listed.
_WRITABLE = ".writable"
_CLOCK = ".clock/now"


class Bucket:
    """The objects below an `s3://bucket/prefix`, with a cache of fetched objects.

    Every method raises StorageUnavailable if the bucket does not answer, does not exist or refuses.

    A copy in the cache can outlive its artifact. Callers find a key through its row, and a key is
    never used twice, so the cache serves no deleted and no stale artifact.

    An interrupted put is never visible. Its parts stay in the bucket until the bucket's lifecycle
    rule AbortIncompleteMultipartUpload deletes them.
    """

    def __init__(self, url: str, cache: FileCache) -> None:
        parts = urlsplit(url)
        self._name = parts.netloc
        self._prefix = parts.path.strip("/")
        self._cache = cache

    def put(self, key: str, source: Path) -> None:
        source.stat()  # after this, FileNotFoundError below means that the bucket is missing
        with self._answering():
            obstore.put(
                self._client,
                _within(key),
                source,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )
        source.unlink()

    def fetch(self, key: str) -> Path:
        found = self._cache.get(_within(key))
        if found is not None:
            with suppress(ArtifactDamaged):  # the copy is, and the object may not be
                return checked(found, key)
        try:
            return checked(self._download(key), key)
        except ArtifactDamaged:
            self._cache.forget(key)
            raise

    def _download(self, key: str) -> Path:
        try:
            with self._answering(missing="object"):
                result = obstore.get(self._client, key)
                chunks = (bytes(chunk) for chunk in result.stream(min_chunk_size=PART_BYTES))
                return self._cache.add(key, chunks, size_bytes=result.meta["size"])
        except FileNotFoundError:
            self._require_bucket()
            raise FileNotFoundError(f"no artifact {key!r}") from None

    def list_older_than(self, prefix: str, *, seconds: float) -> list[str]:
        latest = self._now() - timedelta(seconds=seconds)
        return sorted(
            found["path"] for found in self._objects(prefix) if found["last_modified"] <= latest
        )

    def list(self, prefix: str) -> list[str]:
        return sorted(found["path"] for found in self._objects(prefix))

    def delete(self, prefix: str) -> None:
        keys = [*self.list(prefix), *([prefix] if prefix else [])]
        with self._answering():
            obstore.delete(self._client, keys)
        for key in keys:
            self._cache.forget(key)

    def require_writable(self) -> None:
        with self._answering():
            obstore.put(self._client, _WRITABLE, b"")

    @cached_property
    def _client(self) -> S3Store:
        endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)
        is_plain = endpoint is not None and endpoint.startswith("http://")
        return S3Store(
            self._name,
            prefix=self._prefix or None,
            client_options={**_TIMEOUTS, "allow_http": is_plain},
            retry_config=_RETRIES,
        )

    def _objects(self, prefix: str) -> Iterator["ObjectMeta"]:
        with self._answering():
            for page in obstore.list(self._client, prefix=_within(prefix) or None):
                yield from (found for found in page if not _is_ours(found["path"]))

    def _now(self) -> datetime:
        """Return the time on the bucket's clock, at the resolution of its listings."""
        folder, _, _ = _CLOCK.partition("/")
        with self._answering():
            obstore.put(self._client, _CLOCK, b"")
            [clock] = [found for page in obstore.list(self._client, folder) for found in page]
        return clock["last_modified"]

    def _require_bucket(self) -> None:
        with self._answering():
            next(iter(obstore.list(self._client)), None)

    @contextmanager
    def _answering(self, *, missing: str = "bucket") -> Iterator[None]:
        """Raise StorageUnavailable for any failure but a missing object: FileNotFoundError."""
        try:
            yield
        # Without its cause: a server's answer about a refused signature can contain a token.
        except (BaseError, FileNotFoundError) as error:
            if missing == "object" and isinstance(error, FileNotFoundError):
                raise
            raise StorageUnavailable(f"bucket {self._name!r}: {_reason(error)}") from None


def _within(key: str) -> str:
    if key.startswith("/") or ".." in key.split("/"):
        raise ValueError(f"artifact key {key!r} leaves its folder")
    return key


def _is_ours(key: str) -> bool:
    return any(name.startswith(".") for name in key.split("/"))


def _reason(error: Exception) -> str:
    """Return the server's answer, `403 Forbidden SignatureDoesNotMatch`, or why there is none."""
    text = str(error)
    status = re.search(r"status code: (\d{3}[A-Za-z ]*)", text)
    code = re.search(r"<Code>(\w+)</Code>", text)
    if status is None:
        return text.partition("\n")[0].rpartition(" - ")[2]
    return " ".join([status[1].strip(), *([code[1]] if code else [])])
