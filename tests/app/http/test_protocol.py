import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn

from app.http import protocol
from app.http.protocol import MAX_HEAD_BYTES, BoundedHttp
from tests.support.problems import assert_problem
from tests.support.service import Service
from tests.support.waiting import wait_until
from tests.support.wire import exchange


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """The address of a server that waits for a head a tenth of a second, and answers 204."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    config = uvicorn.Config(app, http=BoundedHttp, lifespan="off", log_config=None, port=0)
    server = uvicorn.Server(config)
    listener = config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    wait_until(lambda: server.started)
    yield listener.getsockname()
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize(
    "request_",
    [
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nContent-Length: many\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
        b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_what_is_no_http_is_400(service: Service, request_: bytes) -> None:
    response = exchange(service.address, request_)
    assert_problem(response, 400, "bad_request")
    assert response.headers["x-content-type-options"] == "nosniff"


HEADS = [
    b"GET /livez HTTP/1.1\r\nHost: a\r\nX: %s\r\n\r\n" % (b"x" * MAX_HEAD_BYTES),
    b"GET /livez HTTP/1.1\r\nHost: a\r\n%s\r\n" % (b"X: y\r\n" * MAX_HEAD_BYTES),
    b"GET /livez?%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * MAX_HEAD_BYTES),
    b"GET /livez HTTP/1.1\r\nHost: a\r\nX: %s" % (b"x" * 2 * MAX_HEAD_BYTES),
]


@pytest.mark.parametrize("head", HEADS, ids=["a header", "headers", "the line", "without end"])
def test_a_head_that_is_too_large_is_431(service: Service, head: bytes) -> None:
    response = exchange(service.address, head)
    assert str(MAX_HEAD_BYTES) in assert_problem(response, 431, "head_too_large")
    assert response.headers["connection"] == "close"


def test_a_head_of_ordinary_size_is_read(service: Service) -> None:
    headers = {f"X-{index}": "x" * 1_000 for index in range(50)}
    assert httpx.get(f"{service.address}/livez", headers=headers, trust_env=False).is_success


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nHo"])
def test_a_head_that_does_not_come_is_408(impatient: tuple[str, int], start: bytes) -> None:
    with socket.create_connection(impatient, timeout=30) as connection:
        connection.sendall(start)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"head_too_slow" in answer


def test_a_connection_is_answered_more_than_once(impatient: tuple[str, int]) -> None:
    with socket.create_connection(impatient, timeout=30) as connection:
        for _ in range(3):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 204 ")
