"""The service as processes on this machine, in either of its two shapes.

    with embedded(folder, **SETTINGS) as service:
        service.client.get("/v1/jobs")

Tests find its processes by kind, kill and stop them, and heal it. All of them end with the block.
"""

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import psutil

from store.settings import Settings
from tests.support.client import Client
from tests.support.ports import free_port
from tests.support.processes import COMMAND, command_line, is_alive, is_forked, parent_of, running
from tests.support.waiting import wait_until

START_SECONDS = 90

# Of a service whose tests are small and many.
SETTINGS: dict[str, Any] = {
    "max_upload_bytes": 200_000,
    "max_request_bytes": 100_000,
    "max_training_bytes": 50_000_000,
    "concurrency": 1,
    "threads_per_job": 1,
}

KINDS = {
    ("-m", "app", "api"): "api",
    ("-m", "worker", "local"): "worker",
    ("-m", "worker", "celery"): "worker",
    ("-m", "worker", "dispatch"): "dispatcher",
    ("-m", "app", "serve"): "serve",
}


class Service:
    """Processes that are started by name, and all that they start, for the length of a `with`.

    `commands` holds the command line of each name; `ports` are those that its API processes answer
    on. The data directory is `folder/data`, and each name writes to `folder/log-NAME`.
    """

    client: Client

    def __init__(
        self,
        folder: Path,
        commands: dict[str, list[str]],
        *,
        ports: Sequence[int],
        **settings: Any,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.settings = Settings(data_dir=folder / "data", **settings)
        self.data_dir = folder / "data"
        self.addresses = [f"http://127.0.0.1:{port}" for port in ports]
        self.started: dict[str, subprocess.Popen[str]] = {}
        self._folder = folder
        self._commands = commands
        self._stopped: list[psutil.Process] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._stacks = {name: stack.enter_context(ExitStack()) for name in self._commands}
            for name in self._commands:
                self._start(name)
            self._clients = [stack.enter_context(Client(address)) for address in self.addresses]
            self.client = self._clients[0]
            try:
                wait_until(lambda: self._has_died() or self._answers(), START_SECONDS)
                assert not self._has_died(), "a process of the service ended while it started"
            except AssertionError as error:
                error.add_note(self.log())
                raise
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.resume()
        finally:
            self._stack.close()
        wait_until(lambda: not self.processes(), START_SECONDS)  # orphans end by themselves

    @property
    def address(self) -> str:
        return self.addresses[0]

    def log(self) -> str:
        """Return all that its processes have logged."""
        return "".join(path.read_text() for path in sorted(self._folder.glob("log-*")))

    def processes(self) -> list[psutil.Process]:
        """Return every process with this data directory in its environment, also orphans."""
        return [
            process
            for process in psutil.process_iter()
            if process.pid != os.getpid()
            and _data_dir_of(process) == str(self.data_dir)
            and is_alive(process)
        ]

    def find(self, kind: str) -> list[psutil.Process]:
        """Return its processes of one of KINDS, `trainer` or `forkserver`; the oldest first."""
        found = []
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                if _kind_of(process) == kind:
                    found.append((process.create_time(), process.pid, process))
        return [process for *_, process in sorted(found, key=lambda each: each[:2])]

    def only(self, kind: str) -> psutil.Process:
        """Wait until there is exactly one process of a kind, and return it."""
        [process] = wait_until(
            lambda: found if len(found := self.find(kind)) == 1 else [], START_SECONDS
        )
        return process

    def end(self, name: str, number: signal.Signals) -> str:
        """Signal a started process, wait for it, and return the rest of its standard output."""
        process = self.started[name]
        process.send_signal(number)
        assert process.stdout is not None
        rest = process.stdout.read()
        process.wait()
        return rest

    def stop(self, process: psutil.Process) -> None:
        """Have a process stand still, until `resume`."""
        with suppress(psutil.NoSuchProcess):
            process.suspend()
            self._stopped.append(process)

    def resume(self) -> None:
        while self._stopped:
            with suppress(psutil.NoSuchProcess):
                self._stopped.pop().resume()

    def start_missing(self) -> list[str]:
        """Start anew what was started by name and has died; return the names."""
        dead = [name for name, process in self.started.items() if process.poll() is not None]
        for name in dead:
            self._stacks[name].close()
            self._start(name)
        return dead

    def heal(self) -> None:
        """Let all of it run again, and wait until it answers."""
        self.resume()
        wait_until(self._is_whole, START_SECONDS)

    def _is_whole(self) -> bool:
        self.start_missing()  # again and again: an orphan may hold its port for a moment
        return self._answers()

    def _has_died(self) -> bool:
        return any(process.poll() is not None for process in self.started.values())

    def _answers(self) -> bool:
        return all(client.is_ready() for client in self._clients)

    def _start(self, name: str) -> None:
        process = running(self._commands[name], self.settings, log=self._folder / f"log-{name}")
        self.started[name] = self._stacks[name].enter_context(process)


def embedded(folder: Path, *, num_api: int = 1, **settings: Any) -> Service:
    """Return `dropout-service serve`, which starts and restarts its own processes."""
    port = free_port()
    serve = [*COMMAND, "serve", "--port", str(port), "--processes", str(num_api)]
    return Service(folder, {"serve": serve}, ports=[port], **settings)


def scaled_out(
    folder: Path,
    *,
    num_api: int = 1,
    num_workers: int = 1,
    worker: Sequence[str] = (*COMMAND, "worker", "--queues", "cpu"),
    **settings: Any,
) -> Service:
    """Return API, dispatcher and Celery workers over the Redis and PostgreSQL of the settings."""
    ports = [free_port() for _ in range(num_api)]
    apis = {f"api-{n}": [*COMMAND, "api", "--port", str(port)] for n, port in enumerate(ports)}
    workers = {f"worker-{n}": list(worker) for n in range(num_workers)}
    commands = {**apis, "dispatcher": [*COMMAND, "dispatch"], **workers}
    return Service(folder, commands, ports=ports, **settings)


def _kind_of(process: psutil.Process) -> str | None:
    if is_forked(process):
        return "trainer" if is_forked(parent_of(process)) else "forkserver"
    return KINDS.get(tuple(command_line(process)[1:4]))


def _data_dir_of(process: psutil.Process) -> str | None:
    try:
        environment: dict[str, str] = process.environ()
    except (psutil.NoSuchProcess, psutil.AccessDenied, OSError):
        return None
    return environment.get("DROPOUT_DATA_DIR")
