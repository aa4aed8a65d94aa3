"""Processes: how tests start them, find them, and end them.

A process may end between the moment it is found and the moment it is looked at, so every look here
has an answer for a process that is gone.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from pathlib import Path

import psutil

from store.settings import PREFIX, Settings
from tests.support.waiting import wait_until
from worker.trainer_process import PRELOADED, warm_up

COMMAND = (sys.executable, "-m", "app")
STOP_SECONDS = 30


@contextmanager
def running(
    command: Sequence[str], settings: Settings | dict[str, str], *, log: Path
) -> Iterator[subprocess.Popen[str]]:
    """Run a process that knows these settings alone, and end all that it started.

    It has a temporary folder of its own, as in a container: what a killed process leaves there is
    removed with it.
    """
    given = settings if isinstance(settings, dict) else settings.as_environment()
    with (
        tempfile.TemporaryDirectory(prefix="process-", ignore_cleanup_errors=True) as folder,
        log.open("a") as output,
        subprocess.Popen(
            command,
            env={**without_settings(), "TMPDIR": folder, **given},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            start_new_session=True,  # a process group that a test may signal as a terminal does
        ) as process,
    ):
        try:
            yield process
        finally:
            end(process)


def without_settings() -> dict[str, str]:
    """Return the environment of the tests without settings of the service."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


def environment(**settings: object) -> dict[str, str]:
    """Return the environment of the tests with these settings of the service alone."""
    return without_settings() | {f"{PREFIX}{n}".upper(): str(v) for n, v in settings.items()}


def end(process: subprocess.Popen[str]) -> None:
    """Ask a process to stop. Raises AssertionError if it, or a process below it, does not."""
    if process.poll() is not None:  # its number may be another's by now
        return
    left = below(process.pid)
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
        wait_until(lambda: not any(is_alive(other) for other in left), STOP_SECONDS)
    finally:
        kill(*left)
        process.kill()
        process.wait()


def kill(*processes: psutil.Process) -> None:
    """Kill those of the processes that are still there."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def below(pid: int) -> list[psutil.Process]:
    """Return all processes that a process has started, and those below them."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def trainers(pid: int | None = None) -> list[psutil.Process]:
    """Return the trainers of the supervisors below a process, by default this one."""
    return [
        process
        for process in below(os.getpid() if pid is None else pid)
        if is_forked(process) and is_forked(parent_of(process))
    ]


def warm_trainer_server() -> None:
    """Start the server of trainers, in place of a server of readers that an API has started."""
    server = forkserver._forkserver  # type: ignore[attr-defined]
    if server._preload_modules != PRELOADED:
        server._stop()
    warm_up()


def trainer_server() -> psutil.Process:
    """Return the process that trainers of this process are forked from."""
    [server] = (child for child in psutil.Process().children() if is_forked(child))
    return server


@contextmanager
def trainers_with_memory(size_bytes: int) -> Iterator[None]:
    """Limit the memory of trainers that start now to what they start with and so much more."""
    server = trainer_server()
    limits = server.rlimit(psutil.RLIMIT_AS)
    server.rlimit(psutil.RLIMIT_AS, (server.memory_info().vms + size_bytes, limits[1]))
    try:
        yield
    finally:
        server.rlimit(psutil.RLIMIT_AS, limits)


def wait_for_trainer(pid: int | None = None) -> psutil.Process:
    [trainer] = wait_until(lambda: trainers(pid), 60)
    return trainer


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_forked(process: psutil.Process | None) -> bool:
    """Return whether it is a server that trainers are forked from, or one of the trainers."""
    return process is not None and "multiprocessing.forkserver" in " ".join(command_line(process))


def command_line(process: psutil.Process) -> list[str]:
    """Return the words that started the process; none once it is gone."""
    try:
        return list(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []


def parent_of(process: psutil.Process) -> psutil.Process | None:
    try:
        return process.parent()
    except psutil.NoSuchProcess:
        return None
