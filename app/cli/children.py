"""Processes that are restarted whenever they die, and killed when they hang."""

import http.client
import os
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

WATCH_SECONDS = 0.5
STOP_SECONDS = 30
RESTART_SECONDS = 1.0  # between two starts of a process that keeps dying
_PROBE_SECONDS = 2.0  # between two probes
_RETRY_SECONDS = 0.1  # after a probe without an answer
_ANSWER_SECONDS = 5.0

log = structlog.get_logger()


class Child:
    """A process that `watch` restarts. It ends when its standard input closes.

    `was_heard` tells whether the process has shown since the last call that it works. After
    `hang_seconds` of silence it is killed, but never before it was heard for the first time, when
    `silent_seconds` is None: a start can take long.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[], subprocess.Popen[bytes]],
        *,
        was_heard: Callable[[], bool],
        hang_seconds: float,
    ) -> None:
        self.name = name
        self._start = start
        self.was_heard = was_heard
        self._hang_seconds = hang_seconds
        self._begin()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def watch(self) -> None:
        """Kill the process if it hangs, and restart it if it has died; call every WATCH_SECONDS."""
        if self.exit_code is None:
            self._listen()
        elif time.monotonic() - self._started_at >= RESTART_SECONDS:
            log.warning("process died, restarting it", process=self.name, exit_code=self.exit_code)
            self.ask_to_stop()  # closes the pipe to it
            self._begin()

    def ask_to_stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def wait(self) -> None:
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _begin(self) -> None:
        self._process = self._start()
        self._started_at = time.monotonic()
        self.was_heard()  # of the process before
        self.silent_seconds: float | None = None

    def _listen(self) -> None:
        if self.was_heard():
            self.silent_seconds = 0.0
        elif self.silent_seconds is not None:
            # Not by the clock: this process itself can have been stopped for long.
            self.silent_seconds += WATCH_SECONDS
            if self.silent_seconds >= self._hang_seconds:
                log.error("process hangs, killing it", process=self.name)
                self._process.kill()
                self.silent_seconds = None


def probing(port: int) -> Callable[[], bool]:
    """Ask the API process that alone listens on the port for `/livez`, again and again."""
    heard = threading.Event()

    def probe() -> None:
        while True:
            while not _is_alive(port):  # it starts, and is to be heard as soon as it can be
                time.sleep(_RETRY_SECONDS)
            heard.set()
            time.sleep(_PROBE_SECONDS)

    def was_heard() -> bool:
        before = heard.is_set()
        heard.clear()
        return before

    threading.Thread(target=probe, name="probe", daemon=True).start()
    return was_heard


def reading(descriptor: int) -> Callable[[], bool]:
    """Read the heartbeats that a process writes to the other end of a pipe."""
    os.set_blocking(descriptor, False)

    def was_heard() -> bool:
        with suppress(BlockingIOError):
            return bool(os.read(descriptor, 65536))
        return False

    return was_heard


def _is_alive(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
