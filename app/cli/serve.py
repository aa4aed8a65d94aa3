"""The whole service in one command: API processes and a local worker, restarted if they die."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable

import httpx
import structlog

from store.database.engine import Database
from store.operations import metrics
from store.operations.lifetime import only_one
from store.settings import Settings

READY_SECONDS = 60
STOP_SECONDS = 30
WATCH_SECONDS = 0.5
RESTART_SECONDS = 1.0  # between two starts of a process that keeps dying
MAX_TEMPORARY_PATH = 107 - len("/d-12345678/pymp-12345678/listener-12345678")

log = structlog.get_logger()


class NotReady(Exception):
    """The service did not become ready."""


def serve(settings: Settings, *, host: str, port: int, num_processes: int) -> None:
    """Run the service until SIGTERM or SIGINT; once ready, print its address on one line.

    Raises OSError if the address cannot be bound, AlreadyRunning if the data directory has a
    service, NotReady if this one does not become ready.
    """
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    database = Database(settings.database)
    database.migrate()
    database.close()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        only_one(settings.data_dir / "serve.lock"),
        # Temporary files of a process that is killed are deleted when the service ends.
        tempfile.TemporaryDirectory(
            prefix="d-", dir=_short_temporary_folder(), ignore_cleanup_errors=True
        ) as temporary,
        socket.create_server((host, port), family=family, backlog=2048) as listener,
    ):
        # The parent holds the socket, so that calls wait while an API process restarts.
        address = _address(host, listener.getsockname()[1])
        descriptor = listener.fileno()
        api = [sys.executable, "-m", "app", "api", "--fd", str(descriptor), "--with-parent"]
        worker = [sys.executable, "-m", "worker", "local", "--with-parent"]
        environment = (
            os.environ
            | settings.as_environment()
            | metrics.make_folder(settings.data_dir)
            | {"TMPDIR": temporary}
        )

        def start(command: list[str]) -> Callable[[], subprocess.Popen[bytes]]:
            return lambda: subprocess.Popen(  # noqa: S603 - our own interpreter and modules
                command,
                env=environment,
                stdin=subprocess.PIPE,
                pass_fds=(descriptor,),
                process_group=0,  # a terminal's Ctrl-C reaches the parent alone
            )

        children = [_Child("api", start(api)) for _ in range(num_processes)]
        children.append(_Child("worker", start(worker)))
        try:
            _wait_until_ready(address, children, stop)
            if not stop.is_set():
                print(f"Dropout Service is ready at {address}", flush=True)  # noqa: T201
            while not stop.wait(WATCH_SECONDS):
                for child in children:
                    child.restart_if_dead()
        finally:
            for child in children:
                child.ask_to_stop()
            for child in children:
                child.wait()


def _short_temporary_folder() -> str:
    """Return the folder for temporary files, or /tmp if sockets in it would have too long a path.

    multiprocessing puts sockets there, whose path the system limits to 107 characters.
    """
    folder = tempfile.gettempdir()
    return folder if len(folder) <= MAX_TEMPORARY_PATH else "/tmp"  # noqa: S108


class _Child:
    """A process that is restarted whenever it dies. It ends when its standard input closes."""

    def __init__(self, name: str, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self.name = name
        self._start = start
        self._process = start()
        self._started_at = time.monotonic()

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def restart_if_dead(self) -> None:
        if self.exit_code is None or time.monotonic() - self._started_at < RESTART_SECONDS:
            return
        log.warning("process died, restarting it", process=self.name, exit_code=self.exit_code)
        self.ask_to_stop()  # closes the pipe to it
        self._process = self._start()
        self._started_at = time.monotonic()

    def ask_to_stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def wait(self) -> None:
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _wait_until_ready(address: str, children: list[_Child], stop: threading.Event) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not stop.wait(0.05):
        for child in children:
            if child.exit_code is not None:
                raise NotReady(f"the {child.name} process ended with code {child.exit_code}")
        try:
            if httpx.get(f"{address}/readyz", timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass  # not yet
        if time.monotonic() > deadline:
            raise NotReady(f"the service was not ready within {READY_SECONDS} seconds")


def _address(host: str, port: int) -> str:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
