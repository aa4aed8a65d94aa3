"""Atomic and durable writes, checksums, and the detection of a full disk."""

import errno
import hashlib
import os
import re
import shutil
from pathlib import Path

NO_SPACE = os.strerror(errno.ENOSPC)

# ENOSPC and EDQUOT in the message of a Rust library, outside of the text that it quotes.
_NO_SPACE = re.compile(r"[^'\"`]*\(os error (?:28|122)\)")


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether the error or its cause is a write that failed for lack of disk space.

    Errors of polars and safetensors have no errno, so their message is matched.
    """
    if error is None:
        return False
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return bool(_NO_SPACE.match(str(error))) or is_disk_full(error.__cause__)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file, complete or not at all, durable once this returns; create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def delete_path(path: Path) -> None:
    """Delete a file, or a folder as far as possible; a missing one is no error."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames into `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
