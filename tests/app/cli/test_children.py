"""A process that dies or hangs is replaced, here by small ones that beat a pipe."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from app.cli import children
from app.cli.children import Child, probing, reading
from tests.support.waiting import wait_until

BEATS = """
import os, sys, time
while True:
    os.write(int(sys.argv[1]), b".")
    time.sleep(0.01)
"""


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    """A process that beats, which hangs after ten looks without a beat."""
    monkeypatch.setattr(children, "RESTART_SECONDS", 0)
    received, sent = os.pipe()

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-S", "-c", BEATS, str(sent)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(sent,))

    hang_seconds = 10 * children.WATCH_SECONDS
    child = Child("small", start, was_heard=reading(received), hang_seconds=hang_seconds)
    yield child
    os.kill(child.pid, signal.SIGKILL)
    child.ask_to_stop()
    child.wait()
    os.close(received)
    os.close(sent)


def pid_after_a_look(child: Child) -> int:
    child.watch()
    return child.pid


def wait_for_another(child: Child, pid: int) -> None:
    wait_until(lambda: pid_after_a_look(child) != pid)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_dies_or_hangs_is_replaced(child: Child, number: signal.Signals) -> None:
    for _ in range(2):
        wait_until(lambda: child.watch() or child.silent_seconds == 0)
        pid = child.pid
        os.kill(pid, number)
        wait_for_another(child, pid)


def test_a_process_that_was_never_heard_is_starting(child: Child) -> None:
    pid = child.pid
    os.kill(pid, signal.SIGSTOP)
    child.was_heard()  # what it said before
    for _ in range(100):
        assert pid_after_a_look(child) == pid


class Answering(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/livez" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_an_api_is_heard_as_long_as_it_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "_PROBE_SECONDS", 0.01)
    server = HTTPServer(("127.0.0.1", 0), Answering)
    Thread(target=server.serve_forever, daemon=True).start()
    was_heard = probing(server.server_port)
    for status in (200, 500, 200):  # it has no memory left for a while
        monkeypatch.setattr(Answering, "status", status)
        wait_until(lambda status=status: was_heard() == (status == 200))
    server.shutdown()
    server.server_close()
