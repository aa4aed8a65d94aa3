"""Processes of the service: started, found, and gone when the block is over."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from pathlib import Path

import psutil

from store.settings import PREFIX, Settings
from tests.support.waiting import wait_until
from worker.attempt import PRELOADED, warm_up

STOP_SECONDS = 30


@contextmanager
def running(
    command: Sequence[str], settings: Settings | dict[str, str], *, log: Path
) -> Iterator[subprocess.Popen[str]]:
    """A process that knows these settings alone. All that it started is gone afterwards."""
    given = settings if isinstance(settings, dict) else settings.as_environment()
    inherited = {name: v for name, v in os.environ.items() if not name.startswith(PREFIX)}
    with log.open("a") as output:
        process = subprocess.Popen(
            command,
            env=inherited | given,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """Ask it to stop; what does not go by itself, or leaves something behind, is an error."""
    left = below(process.pid)
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
        wait_until(lambda: not any(is_alive(other) for other in left), STOP_SECONDS)
    finally:
        for other in left:
            with suppress(psutil.NoSuchProcess):
                other.kill()
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def below(pid: int) -> list[psutil.Process]:
    """All processes that a process has started, and that these have."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def trainers(pid: int | None = None) -> list[psutil.Process]:
    """The processes that train for the supervisors below a process, or in this one."""
    return [
        process
        for process in below(os.getpid() if pid is None else pid)
        if _is_forked(process) and _is_forked(process.parent())
    ]


def warm_trainer_server() -> None:
    """Have a server of trainers, where an API in this process may have begun one of readers."""
    server = forkserver._forkserver  # type: ignore[attr-defined]
    if server._preload_modules != PRELOADED:
        server._stop()
    warm_up()


def trainer_server() -> psutil.Process:
    """The process that trainers of this one are forked from."""
    [server] = (child for child in psutil.Process().children() if _is_forked(child))
    return server


@contextmanager
def trainers_with_memory(size_bytes: int) -> Iterator[None]:
    """Trainers of this process that start now may have so much more memory than they start with."""
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


def _is_forked(process: psutil.Process | None) -> bool:
    """Whether it is the server that trainers are forked from, or one of them."""
    try:
        return process is not None and "multiprocessing.forkserver" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False
