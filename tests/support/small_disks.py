"""File systems that a test can fill, so that the kernel refuses a write."""

import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from store.artifacts.local_folder import LocalArtifacts

MiB = 2**20
_BLOCK_BYTES = 4096


class FullFor(LocalArtifacts):
    """A folder whose disk is full whenever files of one job are put."""

    def __init__(self, root: Path, job_id: str) -> None:
        super().__init__(root)
        self._job_id = job_id

    def put(self, key: str, source: Path) -> None:
        if self._job_id in key:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().put(key, source)


class SmallDisk:
    """A file system of its own at `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, *, leave_bytes: int = 0) -> None:
        """Use up all space but a little."""
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(_BLOCK_BYTES))
            except OSError:
                size_bytes = file.tell() - leave_bytes
            file.truncate(size_bytes)

    def use_up_names(self) -> None:
        """Create files until the file system has no room for another."""
        crowd = self.folder / "crowd"
        crowd.mkdir()
        try:
            for number in range(1_000_000):
                (crowd / str(number)).touch()
        except OSError:
            return

    def free(self) -> None:
        """Free the space that `fill` has used."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, *, size_bytes: int, num_files: int = 100_000) -> Iterator[SmallDisk]:
    """Mount a small file system; skip the test where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={size_bytes},nr_inodes={num_files}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "small-disk", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(
            "needs to mount a small file system (as root, or under `unshare -rm`): "
            f"{mounted.stderr.strip()}"
        )
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
