"""Local copies of artifacts that lie elsewhere, up to a number of bytes."""

import hashlib
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

IN_USE_SECONDS = 600.0  # who is handed a path opens it sooner, and an open file outlives its name
UNUSED_SECONDS = 24 * 3600.0


class FileCache:
    """Copies by key, of what never changes. Any number of processes may share the folder.

    Each new copy makes its room: copies that were not used for a day go, and, while there are more
    than `max_bytes`, those least recently used, but none that was used ten minutes ago or later.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def get(self, key: str) -> Path | None:
        """The copy, which stays for ten minutes from now at least; None if there is none."""
        path = self._path(key)
        try:
            os.utime(path)
        except FileNotFoundError:
            return None
        return path

    def add(self, key: str, chunks: Iterable[bytes], *, size_bytes: int) -> Path:
        """Write the copy, whole or not at all. Raises OSError."""
        self._make_room(size_bytes)
        path = self._path(key)
        aside = path.with_name(f".{uuid.uuid4().hex}")
        try:
            with _open_new(aside) as file:
                for chunk in chunks:
                    file.write(chunk)
                if file.tell() != size_bytes:
                    raise OSError(f"{file.tell()} bytes of {key!r} came instead of {size_bytes}")
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        return path

    def forget(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        """What has a folder in common has one here too, and every file keeps its name."""
        parent, _, name = key.rpartition("/")
        return self._folder / hashlib.sha256(parent.encode()).hexdigest()[:32] / name

    def _make_room(self, size_bytes: int) -> None:
        copies = sorted(self._copies())
        num_bytes = size_bytes + sum(size for _, size, _ in copies)
        for _, size, path in copies:
            idle_seconds = _idle_seconds(path)
            is_aside = path.name.startswith(".")
            crowded = num_bytes > self._max_bytes and not is_aside
            if idle_seconds >= (IN_USE_SECONDS if crowded else UNUSED_SECONDS):
                path.unlink(missing_ok=True)
                num_bytes -= size
                with suppress(OSError):  # unless it holds something
                    path.parent.rmdir()

    def _copies(self) -> Iterator[tuple[float, int, Path]]:
        """When each was last used, its size, and its path."""
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
