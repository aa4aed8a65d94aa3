import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
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

LARGE = b"x" * 20_000_000


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the method, the headers and the body; at once if the path is `/early`."""
    body, more = b"", scope["path"] != "/early"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    names = {name.decode(): value.decode() for name, value in scope["headers"]}
    told = {"method": scope["method"], "headers": names, "body": body.decode()}
    content = LARGE if scope["path"] == "/large" else json.dumps(told).encode()
    length = (b"content-length", b"%d" % len(content))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": content})


@contextmanager
def served(app: Any, *, keep_alive: float = 0.1) -> Iterator[tuple[str, int]]:
    """The address of a server of the app, which gives up an idle connection soon."""
    config = uvicorn.Config(
        app,
        http=BoundedHttp,
        lifespan="off",
        log_config=None,
        port=0,
        timeout_keep_alive=keep_alive,  # type: ignore[arg-type]
    )
    server = uvicorn.Server(config)
    listener = config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield listener.getsockname()
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def echoing() -> Iterator[tuple[str, int]]:
    with served(echo) as address:
        yield address


def sent(address: tuple[str, int], *parts: bytes) -> list[tuple[int, Any]]:
    """Send the parts one by one; return status and content of each answer before the end."""
    with socket.create_connection(address, timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            connection.sendall(part)
        return received(connection)


def received(connection: socket.socket) -> list[tuple[int, Any]]:
    """Read answers until the server closes the connection."""
    rest = b""
    with suppress(ConnectionResetError):
        rest = b"".join(iter(lambda: connection.recv(65536), b""))
    answers = []
    while rest:
        head, _, rest = rest.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
        answers.append((int(head.split()[1]), json.loads(rest[:length])))
        rest = rest[length:]
    return answers


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"


def post(body: bytes, *, headers: bytes = b"", path: bytes = b"/") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body)
    return b"POST %s HTTP/1.1\r\nHost: a\r\n%s%s\r\n%s" % (path, length, headers, body)


CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n%s\r\n"


@pytest.mark.parametrize("num_parts", [1, 2, 7])
@pytest.mark.parametrize(
    "protocol_",
    [UPGRADE, UPGRADE.replace(b"h2c", b"websocket"), UPGRADE.replace(b"h2c", b"TLS/1.0, irc/6.9")],
)
def test_a_request_for_another_protocol_is_answered_with_its_body(
    echoing: tuple[str, int], protocol_: bytes, num_parts: int
) -> None:
    """RFC 9110, section 7.8: the body is the same, and no part of it is another request."""
    whole = post(GET * 3, headers=protocol_) + GET
    step = -(-len(whole) // num_parts)
    parts = [whole[start : start + step] for start in range(0, len(whole), step)]
    first, second = sent(echoing, *parts)
    assert first[0] == second[0] == 200
    assert first[1]["body"] == (GET * 3).decode()
    assert first[1]["headers"]["http2-settings"] == "AAMA"
    assert second[1]["method"] == "GET"


def test_chunks_after_an_ignored_protocol_are_one_body(echoing: tuple[str, int]) -> None:
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(GET), GET)
    answers = sent(echoing, CHUNKED % UPGRADE + chunks, UPGRADE.join([GET[:-2], b"\r\n"]))
    assert [answer["body"] for _, answer in answers] == [GET.decode(), ""]


def test_a_proxy_is_not_offered(echoing: tuple[str, int]) -> None:
    [(status, answer)] = sent(echoing, b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n" + GET)
    assert (status, answer["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    "parts",
    [
        [b"0\r\n"] + [b"X: %s\r\n" % (b"y" * 1_000)] * 500,
        [b"0\r\nX: "] + [b"y" * 10_000] * 50,
        [b"1;x="] + [b"y" * 10_000] * 50,
        [b"1;x=%s\r\na\r\n" % (b"y" * 500)] * 1_000,
    ],
    ids=["trailers", "a trailer", "an extension", "extensions"],
)
def test_what_stands_around_a_body_is_bounded(echoing: tuple[str, int], parts: list[bytes]) -> None:
    with socket.create_connection(echoing, timeout=30) as connection:
        with suppress(OSError):  # where it has refused before all of it is sent
            for part in [CHUNKED % b"", *parts]:
                connection.sendall(part)
        assert [status for status, _ in received(connection)] in ([431], [])


def test_small_chunks_are_a_body_and_trailers_say_nothing(echoing: tuple[str, int]) -> None:
    chunks = b"1;a=b\r\nx\r\n" * 50_000
    trailers = b"0\r\nX-Request-ID: trailer\r\nHost: b\r\n\r\n"
    first, second = sent(echoing, CHUNKED % b"" + chunks + trailers + GET)
    assert len(first[1]["body"]) == 50_000
    assert first[1]["headers"] == {"host": "a", "transfer-encoding": "chunked"}
    assert second[0] == 200


def test_a_request_after_a_long_body_is_answered(echoing: tuple[str, int]) -> None:
    for size in (108_000, 500_000):
        pair = post(b"x" * size) + GET
        assert [status for status, _ in sent(echoing, pair[:-9], pair[-9:])] == [200, 200]


@pytest.mark.parametrize(
    "invalid",
    [b"what?\r\n\r\n", GET[:-2] + b"X: %s\r\n\r\n" % (b"x" * MAX_HEAD_BYTES), CHUNKED % b"" + b"?"],
)
def test_requests_before_an_invalid_one_keep_their_answers(
    echoing: tuple[str, int], invalid: bytes
) -> None:
    answers = sent(echoing, post(b"1") + GET + invalid)
    assert [status for status, _ in answers][:2] == [200, 200]
    assert [status >= 400 for status, _ in answers[2:]] == [True]


@pytest.mark.parametrize(
    "hosts",
    [[], [b"a", b"a"], [b""], [b"a b"], [b"a/b"], [b"a, b"], [b"user@a"], [b"a:b"], [b"[::1"]],
)
def test_a_request_has_one_host(echoing: tuple[str, int], hosts: list[bytes]) -> None:
    lines = b"".join(b"Host: %s\r\n" % host for host in hosts)
    [(status, _)] = sent(echoing, b"GET / HTTP/1.1\r\n%s\r\n" % lines)
    assert status == 400


@pytest.mark.parametrize("host", ["a", "a.example:80", "[::1]:8000", "a_b", "127.0.0.1", "%41"])
def test_a_host_is_a_name_or_an_address(echoing: tuple[str, int], host: str) -> None:
    [(status, _)] = sent(echoing, b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % host.encode())
    assert status == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (GET.replace(b"1.1", b"2.0"), 505),
        (CHUNKED.replace(b"chunked", b"gzip, chunked") % b"" + b"0\r\n\r\n", 501),
        (CHUNKED % b"Content-Length: 5\r\n" + b"0\r\n\r\n", 400),
        (post(b"", headers=b"Content-Length: 5\r\n"), 400),
    ],
)
def test_a_body_has_one_framing(echoing: tuple[str, int], request_: bytes, status: int) -> None:
    assert [status for status, _ in sent(echoing, request_ + GET)] == [status]


def test_the_oldest_clients_need_no_host(echoing: tuple[str, int]) -> None:
    assert [status for status, _ in sent(echoing, b"GET / HTTP/1.0\r\n\r\n")] == [200]


def test_a_whole_address_replaces_the_host(echoing: tuple[str, int]) -> None:
    """RFC 9112, section 3.2.2."""
    [(_, answer)] = sent(echoing, b"GET http://b:81/ HTTP/1.1\r\nHost: a\r\n\r\n")
    assert answer["headers"]["host"] == "b:81"


@pytest.mark.parametrize("rest", [b"", b"\r\n", b"\r\n\r\n\r\n"])
def test_an_idle_connection_is_closed(echoing: tuple[str, int], rest: bytes) -> None:
    assert [status for status, _ in sent(echoing, GET, rest)] == [200]


@pytest.mark.parametrize("rest", [b"", b"x"])
def test_a_body_that_nobody_waits_for_does_not_keep_a_connection(
    echoing: tuple[str, int], rest: bytes
) -> None:
    early = post(b"", path=b"/early").replace(b"Content-Length: 0", b"Content-Length: 9")
    assert [status for status, _ in sent(echoing, early, rest)] == [200]


def test_a_body_that_trickles_after_its_answer_is_given_up(
    echoing: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "LINGER_SECONDS", 0.2)
    early = post(b"", path=b"/early").replace(b"Content-Length: 0", b"Content-Length: 999999999")
    with socket.create_connection(echoing, timeout=30) as connection:
        connection.sendall(early)
        with suppress(OSError):
            while True:
                connection.sendall(b"x")


def test_an_early_answer_reaches_a_client_that_sends_on(echoing: tuple[str, int]) -> None:
    """A connection that is closed with unread bytes is reset, and a reset overtakes the answer."""
    length = b"Content-Length: 30000000\r\nConnection: close"
    early = post(b"", path=b"/early").replace(b"Content-Length: 0", length)
    with socket.create_connection(echoing, timeout=30) as connection:
        connection.sendall(early)
        for _ in range(300):
            connection.sendall(bytes(100_000))
        [(status, _)] = received(connection)
    assert status == 200


def test_a_client_that_does_not_read_is_cut(
    echoing: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "SEND_SECONDS", 0.1)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(30)
        connection.connect(echoing)
        connection.sendall(GET.replace(b"/ ", b"/large ", 1))
        wait_until(lambda: _is_reset(connection))


def test_a_client_that_reads_slowly_gets_everything(
    echoing: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "SEND_SECONDS", 0.05)
    num_bytes = 0
    with socket.create_connection(echoing, timeout=30) as connection:
        connection.sendall(GET.replace(b"/ ", b"/large ", 1))
        while chunk := connection.recv(100_000):
            num_bytes += len(chunk)
    assert num_bytes > len(LARGE)


def test_connections_leave_descriptors_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "_max_connections", lambda: 2)
    with served(echo) as address, ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(socket.create_connection(address, timeout=30))
        wait_until(lambda: [status for status, _ in sent(address)] == [503])


def test_an_idle_connection_makes_place_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(protocol, "_max_connections", lambda: 2)
    with served(echo, keep_alive=30) as address, ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(socket.create_connection(address, timeout=30))
            connection.sendall(GET)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def _is_reset(connection: socket.socket) -> bool:
    """Return whether the server has cut the connection, without reading what it has sent."""
    return connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """The address of a server that waits for a head a tenth of a second."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    with served(echo) as address:
        yield address


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
            connection.sendall(GET)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
