"""Send requests at a constant rate, whether or not earlier ones were answered.

A closed loop sends nothing while it waits, and so leaves out the requests that would have waited
longest (Tene, "How not to measure latency"). Here each latency counts from the moment the request
was due, even if it could not be sent yet.
"""

import gc
import select
import socket
import time
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.protocols import Body
from benchmarks.serving.servers import ServerFailed

NUM_CONNECTIONS = 64
PATIENCE_SECONDS = 10.0  # after the last request
WARM_UP_SECONDS = 1.0  # for a server to accept the connections; it does not count


def latencies(
    port: int, path: str, bodies: Sequence[Body], *, rate: float, seconds: float
) -> NDArray[np.float64]:
    """Return the sorted seconds of each request, at `rate` requests a second after a warm-up.

    Raises ServerFailed if a request is not answered with 200, or not in time. One thread polls
    all the time, so it needs its own core.
    """
    requests = [_request(path, body) for body in bodies]
    connections = [_Connection(port) for _ in range(NUM_CONNECTIONS)]
    gc.disable()  # a collection would delay requests that are due
    try:
        num_warming = int(rate * WARM_UP_SECONDS)
        taken = _run(connections, requests, rate, num_warming + int(rate * seconds))
        return np.sort(taken[num_warming:])
    finally:
        gc.enable()
        for connection in connections:
            connection.socket.close()


def _run(
    connections: list["_Connection"], requests: list[bytes], rate: float, num_requests: int
) -> NDArray[np.float64]:
    poll = select.epoll()
    by_descriptor = {connection.socket.fileno(): connection for connection in connections}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.EPOLLIN)
    idle = deque(connections)
    taken = np.empty(num_requests)
    num_sent = num_answered = 0
    start = time.perf_counter()
    deadline = start + num_requests / rate + PATIENCE_SECONDS
    while num_answered < num_requests:
        now = time.perf_counter()
        if now > deadline:
            raise ServerFailed(f"{num_requests - num_answered} requests were not answered in time")
        while idle and num_sent < num_requests and (due := start + num_sent / rate) <= now:
            idle.popleft().send(requests[num_sent % len(requests)], due, num_sent)
            num_sent += 1
        for descriptor, _ in poll.poll(0):
            connection = by_descriptor[descriptor]
            if connection.is_answered():
                taken[connection.number] = time.perf_counter() - connection.due
                num_answered += 1
                idle.append(connection)
    poll.close()
    return taken


class _Connection:
    """A connection with at most one request at a time: its `number` and when it was `due`."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self.number = 0
        self._received = b""

    def send(self, request: bytes, due: float, number: int) -> None:
        self.due, self.number = due, number
        self._received = b""
        self.socket.sendall(request)

    def is_answered(self) -> bool:
        """Return whether the whole answer has arrived."""
        part = self.socket.recv(65536)
        self._received += part
        if not part:
            raise ServerFailed("the server closed a connection")
        head, end, content = self._received.partition(b"\r\n\r\n")
        return bool(end) and len(content) >= _content_length(head)


def _content_length(head: bytes) -> int:
    status, *fields = head.split(b"\r\n")
    if status.split()[1] != b"200":
        raise ServerFailed(f"the server answered {status.decode(errors='replace')}")
    for line in fields:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ServerFailed("the answer has no Content-Length")


def _request(path: str, body: Body) -> bytes:
    headers = {"Host": "127.0.0.1", "Content-Length": str(len(body.content)), **body.headers}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body.content
