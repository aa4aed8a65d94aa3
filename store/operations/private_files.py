"""Files that only the user who runs the service can read: tables, models, keys, backups."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from store.settings import SQLITE_FILE, Settings

FOLDERS = ("artifacts", "cache", "metrics", "scratch", "uploads")
LOCKS = ("serve.lock", "worker.lock")
_DATABASE = (SQLITE_FILE, f"{SQLITE_FILE}-wal", f"{SQLITE_FILE}-shm")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def create_private_files() -> None:
    """Make all files of this process and its children 0600, and folders 0700; call at its start."""
    os.umask(_OTHERS)


def make_private(settings: Settings) -> list[Path]:
    """Take the rights of others from data that exists; return what could not be changed.

    The data directory itself stays as it is if it contains anything else: it can be a folder that
    others use, such as /tmp.
    """
    return [path for path in _stored(settings) if not _is_private(path)]


def _stored(settings: Settings) -> Iterator[Path]:
    folder = settings.data_dir
    ours = {*FOLDERS, *LOCKS, *_DATABASE}
    found = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if folder.is_dir() and found <= ours:
        yield folder
    yield from (folder / name for name in sorted(found & ours))
    if settings.sqlite_path is not None:
        files = (Path(f"{settings.sqlite_path}{end}") for end in ("", "-wal", "-shm"))
        yield from (file for file in files if file.exists())


def _is_private(path: Path) -> bool:
    """Return whether only the owner may use the path, after an attempt to make it so."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _OTHERS:
            path.chmod(mode & ~_OTHERS)
    except FileNotFoundError:  # deleted meanwhile
        return True
    except OSError:
        return False
    return True
