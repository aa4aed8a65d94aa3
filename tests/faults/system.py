"""The whole service as processes: found by kind, killed, stopped, and healed."""

import os
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

import psutil

from store.settings import Settings
from tests.support.client import Client
from tests.support.processes import is_alive, running
from tests.support.scaled_out import COMMAND, START_SECONDS, free_port
from tests.support.waiting import wait_until

FORKSERVER = "multiprocessing.forkserver"
KINDS = {
    ("-m", "app", "api"): "api",
    ("dropout-service", "api"): "api",
    ("-m", "worker", "local"): "worker",
    ("-m", "worker", "celery"): "worker",
    ("-m", "worker", "dispatch"): "dispatcher",
    ("dropout-service", "serve"): "serve",
}


class System:
    """Processes started by name, for the length of a `with`, and all that they start.

    `roles` says by which arguments of `dropout-service` each name is started.
    """

    def __init__(
        self, folder: Path, settings: Settings, roles: dict[str, list[str]], *, ports: list[int]
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.settings = settings
        self.addresses = [f"http://127.0.0.1:{port}" for port in ports]
        self._folder = folder
        self._roles = roles
        self._stopped: list[psutil.Process] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._started = {name: stack.enter_context(ExitStack()) for name in self._roles}
            self._processes = {name: self._start(name) for name in self._roles}
            wait_until(self._is_up, START_SECONDS)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.heal()
        finally:
            self._stack.close()
        wait_until(lambda: not self._all(), START_SECONDS)  # orphans have ended themselves

    def find(self, kind: str) -> list[psutil.Process]:
        """Its processes of a kind: of KINDS, `trainer`, or `forkserver`; the oldest first."""
        found = [process for process in self._all() if _kind(process) == kind]
        return sorted(found, key=lambda process: (process.create_time(), process.pid))

    def role(self, name: str) -> psutil.Process:
        """The process that was started by this name."""
        return psutil.Process(self._processes[name].pid)

    def stop(self, process: psutil.Process) -> None:
        """Have it stand still, until `resume`."""
        with suppress(psutil.NoSuchProcess):
            process.suspend()
            self._stopped.append(process)

    def resume(self) -> None:
        while self._stopped:
            with suppress(psutil.NoSuchProcess):
                self._stopped.pop().resume()

    def start_missing(self) -> list[str]:
        """Start anew what has died and has nobody who does; its names."""
        dead = [name for name, process in self._processes.items() if process.poll() is not None]
        for name in dead:
            self._started[name].close()
            self._processes[name] = self._start(name)
        return dead

    def heal(self) -> None:
        """Let all of it run again, and wait until it answers."""
        self.resume()
        wait_until(self._is_up, START_SECONDS)

    def _is_up(self) -> bool:
        self.start_missing()  # again and again: what was orphaned may hold its port for a moment
        return all(_is_ready(address) for address in self.addresses)

    def _start(self, name: str) -> subprocess.Popen[str]:
        command = [COMMAND, *self._roles[name]]
        process = running(command, self.settings, log=self._folder / f"log-{name}")
        return self._started[name].enter_context(process)

    def _all(self) -> list[psutil.Process]:
        """Whoever has our data directory in the environment, orphans as well."""
        return [
            process
            for process in psutil.process_iter()
            if process.pid != os.getpid()
            and _data_dir(process) == str(self.settings.data_dir)
            and is_alive(process)
        ]


def embedded(folder: Path, *, num_api: int = 1, **settings: object) -> System:
    """`dropout-service serve`, which starts and restarts its own processes."""
    port = free_port()
    command = ["serve", "--port", str(port), "--processes", str(num_api)]
    chosen = Settings(data_dir=folder / "data", **settings)  # type: ignore[arg-type]
    return System(folder, chosen, {"serve": command}, ports=[port])


def scaled_out(
    folder: Path, *, num_api: int = 1, num_workers: int = 2, **settings: object
) -> System:
    """API, dispatcher and Celery workers over the Redis and the PostgreSQL of the settings."""
    ports = [free_port() for _ in range(num_api)]
    roles = {f"api-{n}": ["api", "--port", str(port)] for n, port in enumerate(ports)}
    roles["dispatcher"] = ["dispatch"]
    roles |= {f"worker-{n}": ["worker", "--queues", "cpu"] for n in range(num_workers)}
    chosen = Settings(data_dir=folder / "data", **settings)  # type: ignore[arg-type]
    return System(folder, chosen, roles, ports=ports)


def _is_ready(address: str) -> bool:
    with Client(address) as client:
        return client.is_ready()


def _kind(process: psutil.Process) -> str | None:
    try:
        if _is_forked(process):
            return "trainer" if _is_forked(process.parent()) else "forkserver"
        words = process.cmdline()[1:4]
    except psutil.NoSuchProcess:
        return None
    words = [Path(words[0]).name, *words[1:]] if words else []
    return KINDS.get(tuple(words[:3])) or KINDS.get(tuple(words[:2]))


def _is_forked(process: psutil.Process | None) -> bool:
    return process is not None and FORKSERVER in " ".join(process.cmdline())


def _data_dir(process: psutil.Process) -> str | None:
    try:
        environment: dict[str, str] = process.environ()
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return None
    return environment.get("DROPOUT_DATA_DIR")
