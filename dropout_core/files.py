"""Files that are whole or not there."""

import errno
import hashlib
import os
import re
from pathlib import Path

NO_SPACE = os.strerror(errno.ENOSPC)

# How a library in Rust says ENOSPC and EDQUOT, outside of what it quotes of a file.
_NO_SPACE = re.compile(r"[^'\"`]*\(os error (?:28|122)\)")


def is_disk_full(error: BaseException | None) -> bool:
    """Whether a write failed for want of space, by the error itself or by what it came from.

    Errors of polars and safetensors have no number: they say it in words.
    """
    if error is None:
        return False
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return bool(_NO_SPACE.match(str(error))) or is_disk_full(error.__cause__)


def sha256_of(path: Path) -> str:
    """The digest of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file or none, durable once this returns; its folder is made if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames into `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
