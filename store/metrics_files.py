"""The files of a metrics folder, with their space taken before anything is counted.

prometheus_client maps files that are all hole. On a full disk the first number in a page of theirs
would end the process (SIGBUS), and with it reads that need no space at all.
"""

import os
from pathlib import Path
from typing import Any

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

_FILE_BYTES = 1024**2  # room for some four thousand numbers; a file that needs more grows as before


class _Reserved(MmapedDict):
    """Where there is no space left the numbers are in memory, and nobody is told them."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        where = filename if read_mode else _with_space(filename)
        super().__init__(where, read_mode)  # type: ignore[no-untyped-call]


def _with_space(filename: str) -> str:
    """The file, or one in memory if it cannot have its space."""
    try:
        with Path(filename).open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, _FILE_BYTES)
    except OSError:
        Path(filename).unlink(missing_ok=True)
        return f"/proc/self/fd/{os.memfd_create('metrics')}"
    return filename


def take_space_first() -> None:
    """Have the files that this process is going to count in made so."""
    module: Any = values
    module.MmapedDict = _Reserved
