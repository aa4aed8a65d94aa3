"""Artifacts as files in a local folder."""

import os
import shutil
import stat
import uuid
from pathlib import Path

from dropout_core.files import delete_path, sync_folder
from store.artifacts.checksums import checked


class LocalArtifacts:
    """Artifacts as files under a folder, which several machines can share."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def put(self, key: str, source: Path) -> None:
        target = self._path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        # A rename is atomic only within one file system, and `source` can lie on another.
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            shutil.move(source, temporary)
            os.utime(temporary)  # an artifact's age counts from when it was put
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(target.parent)

    def fetch(self, key: str) -> Path:
        path = self._path(key)
        if not path.is_file():
            raise FileNotFoundError(f"no artifact {key!r}")
        return checked(path, key)

    def list_older_than(self, prefix: str, *, seconds: float) -> list[str]:
        folder = self._path(prefix)
        if not folder.is_dir():
            return []
        latest = self._touch() - seconds
        return sorted(
            path.relative_to(self._root).as_posix()
            for path in folder.rglob("*")
            if _is_file_since(path, latest)
        )

    def list(self, prefix: str) -> list[str]:
        files = (path for path in self._path(prefix).rglob("*") if path.is_file())
        return sorted(
            path.relative_to(self._root).as_posix()
            for path in files
            if not path.name.startswith(".")
        )

    def delete(self, prefix: str) -> None:
        delete_path(self._path(prefix))

    def require_writable(self) -> None:
        """Raise OSError unless a file can be written."""
        self._touch()

    def _touch(self) -> float:
        """Return Unix seconds on the file system's clock, which can differ from this machine's."""
        self._root.mkdir(parents=True, exist_ok=True)
        probe = self._root / f".probe-{uuid.uuid4().hex}"
        probe.touch()
        touched_at = probe.stat().st_mtime
        probe.unlink()
        return touched_at

    def _path(self, key: str) -> Path:
        path = (self._root / key).resolve()
        if not path.is_relative_to(self._root):
            raise ValueError(f"artifact key {key!r} leaves its folder")
        return path


def _is_file_since(path: Path, latest: float) -> bool:
    """Return whether it is a file last written at `latest` or before; False if it is deleted."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_mtime <= latest
