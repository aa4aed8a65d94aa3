"""The metrics folder: the processes of a service count there, so any of them answers for all.

prometheus_client reads the variable when it is imported: with it, instruments count in files of the
folder, one for each process, and the numbers of a process that has ended stay in the sum.
"""

import os
import shutil
from pathlib import Path
from typing import Any

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_FILE_BYTES = 1024**2  # room for some four thousand numbers; a file that needs more grows as before


def make_folder(data_dir: Path) -> dict[str, str]:
    """Make the folder anew, and return the environment that sends processes there.

    The caller holds the lock of the data directory: what another process counts would be lost.
    """
    folder = data_dir.absolute() / "metrics"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return {VARIABLE: str(folder)}


def shared_folder() -> str | None:
    """Return the folder that this process was sent to; None if it counts for itself, in memory."""
    return os.environ.get(VARIABLE)


def reserve_space() -> None:
    """Have the files that this process will count in take their disk space when they are made.

    prometheus_client maps sparse files. On a full disk the first number in a page of theirs would
    end the process (SIGBUS), and with it reads that need no space at all.
    """
    # Imported here: `make_folder` has to set the variable before prometheus_client reads it.
    from prometheus_client import values
    from prometheus_client.mmap_dict import MmapedDict

    class Reserved(MmapedDict):
        """Keeps its numbers in memory, where nobody reads them, if the disk has no space left."""

        def __init__(self, filename: str, read_mode: bool = False) -> None:
            path = filename if read_mode else _with_space(filename)
            super().__init__(path, read_mode)  # type: ignore[no-untyped-call]

    module: Any = values
    module.MmapedDict = Reserved


def _with_space(filename: str) -> str:
    """Return the file with its space reserved, or one in memory if there is no space."""
    try:
        with Path(filename).open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, _FILE_BYTES)
    except OSError:
        Path(filename).unlink(missing_ok=True)
        return f"/proc/self/fd/{os.memfd_create('metrics')}"
    return filename
