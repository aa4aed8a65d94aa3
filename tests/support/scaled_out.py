"""The service in both its shapes, as processes on this machine."""

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
from pydantic import SecretStr
from sqlalchemy import make_url

from store.settings import Settings
from tests.support.client import Client
from tests.support.processes import is_alive, running
from tests.support.waiting import wait_until
from tests.support.worker_examples import SWIFT

COMMAND = str(Path(sys.executable).with_name("dropout-service"))
START_SECONDS = 90


class Embedded:
    """`dropout-service serve`, which starts its own worker."""

    def __init__(self, process: subprocess.Popen[str], client: Client) -> None:
        self.client = client
        self._process = process

    def child(self, module: str) -> psutil.Process:
        """Its process that runs a module: `app` or `worker`."""
        [child] = wait_until(lambda: self._children(module), START_SECONDS)
        return child

    def _children(self, module: str) -> list[psutil.Process]:
        return [
            child
            for child in psutil.Process(self._process.pid).children()
            if is_alive(child) and child.cmdline()[1:3] == ["-m", module]
        ]


@contextmanager
def embedded(folder: Path, *, num_processes: int = 1, **settings: Any) -> Iterator[Embedded]:
    chosen = Settings(data_dir=folder / "data", **SWIFT | settings)
    folder.mkdir(exist_ok=True)
    command = [COMMAND, "serve", "--port", "0", "--processes", str(num_processes)]
    with running(command, chosen, log=folder / "log") as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready.startswith("Dropout Service is ready at http://"), ready
        with Client(ready.split()[-1]) as client:
            yield Embedded(process, client)


class ScaledOut:
    """API, dispatcher and a Celery worker over Redis and PostgreSQL, for the length of a `with`."""

    client: Client
    worker: subprocess.Popen[str]

    def __init__(self, folder: Path, *, database_url: str, redis_url: str, **settings: Any) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self.settings = Settings(
            **SWIFT
            | {
                "data_dir": folder / "data",
                "database_url": database_url,
                "redis_url": SecretStr(redis_url),
                "concurrency": 1,
                "lease_seconds": 2,
                "fence_seconds": 1.5,
                "redispatch_seconds": 1,
                **settings,
            }
        )

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._processes = stack
            port = free_port()
            self._start("api", "--port", str(port))
            self._start("dispatch")
            self.start_worker()
            self.client = stack.enter_context(Client(f"http://127.0.0.1:{port}"))
            wait_until(self.client.is_ready, START_SECONDS)
            self._processes = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.close()

    def start_worker(self) -> None:
        """Start the worker, or one that takes the place of the worker that is gone."""
        self.worker = self._start("worker", "--queues", "cpu")

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        log = self._folder / f"log-{arguments[0]}"
        return self._processes.enter_context(running([COMMAND, *arguments], self.settings, log=log))


@contextmanager
def new_postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL database in which there is nothing, and which goes with the block."""
    name = f"test_{uuid.uuid4().hex}"
    server = os.environ["TEST_DATABASE_URL"]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield make_url(server).set(database=name).render_as_string(hide_password=False)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
