"""The metrics folder, which the processes of a service share, so that any of them answers for all.

prometheus_client reads the variable when it is imported. With it, instruments count in files of the
folder, one per process, and the numbers of a process that has ended stay in the sum.
"""

import os
import shutil
from pathlib import Path
from typing import Any

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_FILE_BYTES = 1024**2  # for about four thousand numbers; a file that needs more grows without this


def make_folder(data_dir: Path) -> dict[str, str]:
    """Create the folder, empty, and return the environment variable that names it.

    The caller holds the lock of the data directory: another process's numbers would be lost.
    """
    folder = data_dir.absolute() / "metrics"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return {VARIABLE: str(folder)}


def shared_folder() -> str | None:
    """Return the folder that this process counts in; None if it counts in memory."""
    return os.environ.get(VARIABLE)


def reserve_space() -> None:
    """Make prometheus_client allocate the disk space of its files when it creates them.

    It maps sparse files. On a full disk, the first number in a new page would kill the process
    (SIGBUS), including reads that need no space.
    """
    # Imported here: the variable must be set before prometheus_client reads it.
    from prometheus_client import values
    from prometheus_client.mmap_dict import MmapedDict

    class Reserved(MmapedDict):
        """A file that keeps its numbers in memory, where nobody reads them, on a full disk."""

        def __init__(self, filename: str, read_mode: bool = False) -> None:
            path = filename if read_mode else _with_space(filename)
            super().__init__(path, read_mode)  # type: ignore[no-untyped-call]

    module: Any = values
    module.MmapedDict = Reserved


def _with_space(filename: str) -> str:
    """Return the file with its space reserved, or a file in memory if the disk is full."""
    try:
        with Path(filename).open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, _FILE_BYTES)
    except OSError:
        Path(filename).unlink(missing_ok=True)
        return f"/proc/self/fd/{os.memfd_create('metrics')}"
    return filename
