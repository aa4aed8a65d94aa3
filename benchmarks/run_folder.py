"""The temporary folder of a run, and the end of all that the run has started.

    with RunFolder():
        ...

has this process, and every process that it starts, keep temporary files in a new folder. A watcher
waits for the end of the run, also where the run is killed. Then it ends the processes that have
this folder in their environment, and removes it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

STOP_SECONDS = 10
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Leftovers:
    """What was there at the end of a run: command lines, and names in its folder."""

    processes: list[str]
    files: list[str]


class RunFolder:
    """A folder for the temporary files of this process and of those that it starts.

    Processes have `grace_seconds` after the run to end by themselves.
    """

    def __init__(self, *, grace_seconds: float = 5) -> None:
        self._grace_seconds = grace_seconds

    def __enter__(self) -> Self:
        self._before = os.environ.get("TMPDIR")
        self.folder = Path(tempfile.mkdtemp(prefix="run-"))
        self.folder.chmod(0o711)  # PostgreSQL, which refuses to run as root, has a folder in it
        self._watcher = subprocess.Popen(
            [sys.executable, "-P", __file__, str(self.folder), str(self._grace_seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a terminal's Ctrl-C ends the run, and not its watcher
        )
        os.environ["TMPDIR"] = str(self.folder)
        tempfile.tempdir = None  # it is looked up again
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> Leftovers:
        """End what is left of the run, and return what that was."""
        if self._before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = self._before
        tempfile.tempdir = None
        found, _ = self._watcher.communicate()
        return Leftovers(**json.loads(found))


@contextmanager
def benchmark_run() -> Iterator[None]:
    """Leave nothing behind, whether the block ends by itself or by a signal."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with RunFolder():
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _processes_of(folder: Path) -> list[psutil.Process]:
    """Return all processes whose temporary folder is this one or below it."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            temporary = Path(process.environ().get("TMPDIR", "/"))
            is_over = process.status() == psutil.STATUS_ZOMBIE
            if not is_over and process.pid != os.getpid() and temporary.is_relative_to(folder):
                found.append(process)
    return found


def _end(folder: Path, grace_seconds: float) -> Leftovers:
    left = _wait_for_end(folder, grace_seconds)
    found = Leftovers(
        [_name_of(each) for each in left], sorted(path.name for path in folder.iterdir())
    )
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for process in left:
            with suppress(psutil.NoSuchProcess):
                end(process)
        left = _wait_for_end(folder, STOP_SECONDS)  # also those that were started meanwhile
    shutil.rmtree(folder, ignore_errors=True)
    return found


def _wait_for_end(folder: Path, seconds: float) -> list[psutil.Process]:
    """Return the processes of the folder that are left after that time, or none, sooner."""
    deadline = time.monotonic() + seconds
    while (left := _processes_of(folder)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return left


def _name_of(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return f"process {process.pid}"


def main() -> None:
    sys.stdin.read()  # until the run has ended
    found = _end(Path(sys.argv[1]), float(sys.argv[2]))
    with suppress(BrokenPipeError):
        print(json.dumps(vars(found)), flush=True)


if __name__ == "__main__":
    main()
