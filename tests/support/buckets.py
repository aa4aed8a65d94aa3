"""Folders of one bucket, a new one for each test."""

import uuid
from pathlib import Path

from store.artifacts.artifact_store import ArtifactStore
from store.artifacts.bucket import Bucket
from store.artifacts.file_cache import FileCache
from tests.support.servers import S3Server


def new_bucket_url() -> str:
    return f"s3://{S3Server.BUCKET}/tests/{uuid.uuid4().hex}"


def new_bucket(folder: Path, *, url: str | None = None, cache_bytes: int = 2**30) -> Bucket:
    return Bucket(url or new_bucket_url(), FileCache(folder, max_bytes=cache_bytes))


def put(artifacts: ArtifactStore, source: Path, *keys: str) -> None:
    """Put an artifact at each key; its content is the key."""
    for key in keys:
        source.write_bytes(key.encode())
        artifacts.put(key, source)
