"""Checksums of artifacts: a key such as `datasets/ds_1.<sha256>.parquet` holds its file's.

Formats of tables do not detect a flipped bit: a number with one is still a number. So every fetch
compares the file with its key, and hashes a file again only when it has changed.
"""

import re
from pathlib import Path

from dropout_core.files import sha256_of
from store.errors import ArtifactDamaged

_DIGEST = re.compile(r"\.([0-9a-f]{64})\.\w+$")
_MAX_REMEMBERED = 10_000

# What a file was when its checksum held. Writing to a file changes its times.
_Version = tuple[int, int, int, int]
_whole: dict[str, _Version] = {}


def digest_in(key: str) -> str | None:
    """Return the SHA-256 that the key holds; None for models and for tables of early releases."""
    match = _DIGEST.search(key)
    return match[1] if match else None


def checked(path: Path, key: str) -> Path:
    """Return the path. Raises ArtifactDamaged unless its file is what the key says."""
    digest = digest_in(key)
    if digest is None:
        return path
    version = _version_of(path)  # before the file is read: it may change meanwhile
    if _whole.get(str(path)) == version:
        return path
    if sha256_of(path) != digest:
        raise ArtifactDamaged(key)
    if len(_whole) >= _MAX_REMEMBERED:
        _whole.clear()
    _whole[str(path)] = version
    return path


def _version_of(path: Path) -> _Version:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
