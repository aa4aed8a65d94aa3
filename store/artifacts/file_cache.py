"""Local copies of remote artifacts, up to a number of bytes."""

import hashlib
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

IN_USE_SECONDS = 600.0  # callers open a path sooner, and an open file survives its deletion
NOTED_SECONDS = 60.0  # between two notes of a copy's use
UNUSED_SECONDS = 24 * 3600.0


class FileCache:
    """Copies of immutable artifacts by key. Any number of processes can share the folder.

    Adding a copy deletes copies that were unused for a day and, while the total exceeds
    `max_bytes`, the least recently used ones, but no copy that was used in the last ten minutes.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def get(self, key: str) -> Path | None:
        """Return the copy, which stays for at least nine minutes from now, or None."""
        path = self._path(key)
        try:
            # Not at every use: a copy whose times have changed is hashed again.
            if abs(time.time() - path.stat().st_mtime) > NOTED_SECONDS:
                os.utime(path)
        except FileNotFoundError:
            return None
        return path

    def add(self, key: str, chunks: Iterable[bytes], *, size_bytes: int) -> Path:
        """Write the copy, completely or not at all. Raises OSError."""
        self._make_room(size_bytes)
        path = self._path(key)
        temporary = path.with_name(f".{uuid.uuid4().hex}")
        try:
            with _open_new(temporary) as file:
                for chunk in chunks:
                    file.write(chunk)
                if file.tell() != size_bytes:
                    raise OSError(
                        f"received {file.tell()} bytes of {key!r} instead of {size_bytes}"
                    )
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        return path

    def forget(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        """Return the path of a copy: keys of one folder share a folder, and keep their names."""
        parent, _, name = key.rpartition("/")
        return self._folder / hashlib.sha256(parent.encode()).hexdigest()[:32] / name

    def _make_room(self, size_bytes: int) -> None:
        copies = sorted(self._copies())
        num_bytes = size_bytes + sum(size for _, size, _ in copies)
        for _, size, path in copies:
            idle_seconds = _idle_seconds(path)
            is_temporary = path.name.startswith(".")
            crowded = num_bytes > self._max_bytes and not is_temporary
            if idle_seconds >= (IN_USE_SECONDS if crowded else UNUSED_SECONDS):
                path.unlink(missing_ok=True)
                num_bytes -= size
                with suppress(OSError):  # the folder is not empty
                    path.parent.rmdir()

    def _copies(self) -> Iterator[tuple[float, int, Path]]:
        """Yield when each copy was last used (Unix seconds), its size in bytes, and its path."""
        for path in self._folder.glob("*/*"):
            with suppress(FileNotFoundError):
                status = path.stat()
                yield status.st_mtime, status.st_size, path


def _open_new(path: Path) -> BinaryIO:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another process has just removed the empty folder
            return path.open("xb")


def _idle_seconds(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
