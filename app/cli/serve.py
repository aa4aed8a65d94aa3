"""The whole service in one command: API processes and a local worker, replaced if they fail."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from app.cli.children import WATCH_SECONDS, Child, probing, reading
from app.cli.terminal import RELEASE, say
from app.http import bind
from store.database.engine import Database
from store.operations import metrics
from store.operations.lifetime import only_one
from store.settings import Settings

READY_SECONDS = 60
MAX_TEMPORARY_PATH = 107 - len("/d-12345678/pymp-12345678/listener-12345678")


class NotReady(Exception):
    """The service did not become ready."""


def serve(settings: Settings, *, host: str, port: int, num_processes: int) -> None:
    """Run the service until SIGTERM or SIGINT; once ready, print its address on one line.

    Raises OSError if the address cannot be bound, AlreadyRunning if the data directory has a
    service, NewerDatabase, NotReady if this one does not become ready.
    """
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    database = Database(settings.database)
    database.migrate()
    database.close()
    with (
        only_one(settings.data_dir / "serve.lock"),
        # Temporary files of a process that is killed are deleted when the service ends.
        tempfile.TemporaryDirectory(
            prefix="d-", dir=_short_temporary_folder(), ignore_cleanup_errors=True
        ) as temporary,
        bind.listen(host, port) as listener,
        ExitStack() as stack,
    ):
        # The parent holds the socket, so that calls wait while an API process restarts.
        address = bind.address_of(listener, host)
        environment = (
            os.environ
            | settings.as_environment()
            | metrics.make_folder(settings.data_dir)
            | {"TMPDIR": temporary}
        )

        def new_child(
            name: str, command: list[str], *descriptors: int, was_heard: Callable[[], bool]
        ) -> Child:
            words = [sys.executable, "-m", *command, "--with-parent"]

            def start() -> subprocess.Popen[bytes]:
                return subprocess.Popen(  # noqa: S603 - our own interpreter and modules
                    words,
                    env=environment,
                    stdin=subprocess.PIPE,
                    pass_fds=descriptors,
                    process_group=0,  # a terminal's Ctrl-C reaches the parent alone
                )

            return Child(name, start, was_heard=was_heard, hang_seconds=settings.hang_seconds)

        def api() -> Child:
            # The processes share the port, so each gets one of its own, to be asked alone.
            own = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            shared, probed = listener.fileno(), own.fileno()
            command = ["app", "api", "--fd", str(shared), "--probe-fd", str(probed)]
            return new_child(
                "api", command, shared, probed, was_heard=probing(own.getsockname()[1])
            )

        def worker() -> Child:
            received, sent = os.pipe()
            stack.callback(os.close, received)
            stack.callback(os.close, sent)
            command = ["worker", "local", "--heartbeat-fd", str(sent)]
            return new_child("worker", command, sent, was_heard=reading(received))

        children = [*(api() for _ in range(num_processes)), worker()]
        try:
            _wait_until_ready(address, children, stop)
            if not stop.is_set():
                say(f"Dropout Service {RELEASE} is ready at {address}")
            while not stop.wait(WATCH_SECONDS):
                for child in children:
                    child.watch()
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
    return folder if len(folder) <= MAX_TEMPORARY_PATH else "/tmp"  # noqa: S108  # nosec B108


def _wait_until_ready(address: str, children: list[Child], stop: threading.Event) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not stop.wait(0.05):
        for child in children:
            if child.exit_code is not None:
                raise NotReady(f"the {child.name} process ended with code {child.exit_code}")
        if _is_ready(address):
            return
        if time.monotonic() > deadline:
            raise NotReady(f"the service was not ready within {READY_SECONDS} seconds")


def _is_ready(address: str) -> bool:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=5)
    try:
        connection.request("GET", "/readyz")
        checks = json.load(connection.getresponse())["checks"]
        # Models are served from a full disk too.
        return bool(checks["database"] == checks["storage"] == "ok")
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return False  # not yet
    finally:
        connection.close()
