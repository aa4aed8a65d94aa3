"""The free space of the disks that the service writes to."""

import os
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from store.settings import Settings

# The database's log alone takes this much with a few jobs; uploads and checkpoints take more.
MIN_FREE_BYTES = 1024**2


class Disk(Collector):
    """The disks of the data directory and, if it is SQLite, of the database."""

    def __init__(self, settings: Settings) -> None:
        database = settings.sqlite_path
        self._folders = [settings.data_dir, *([] if database is None else [database.parent])]

    def free_bytes(self) -> int:
        """Return the bytes that can be written, of the fuller disk; 0 without room for a file.

        Raises OSError.
        """
        return min(_free_bytes(folder) for folder in self._folders)

    def collect(self) -> Iterator[Metric]:
        try:
            free_bytes = self.free_bytes()
        except OSError:
            return
        yield GaugeMetricFamily(
            "dropout_disk_free_bytes",
            "Space for uploads, artifacts and records, on the fuller disk.",
            free_bytes,
        )


def _free_bytes(folder: Path) -> int:
    while not folder.exists() and folder != folder.parent:  # it is made by the first write
        folder = folder.parent
    status = os.statvfs(folder)
    has_files_left = status.f_favail > 0 or status.f_files == 0  # some file systems do not count
    return status.f_bavail * status.f_frsize if has_files_left else 0
