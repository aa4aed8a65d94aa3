"""Bodies that are compressed: what an endpoint receives of them."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from app.http.encodings import encoding_of
from app.http.errors import RequestError
from app.http.limits import BodyLimit
from app.http.routes import BodyClass
from tests.support.in_process import TestClient
from tests.support.problems import assert_problem

TEXT = b"".join(b"row %d, " % n for n in range(40_000))


def raw(content: bytes) -> bytes:
    """A stream without zlib's header."""
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(content) + stream.flush()


COMPRESSED = [
    ("gzip", gzip.compress(TEXT, mtime=0)),
    ("x-gzip", gzip.compress(TEXT, mtime=0)),
    ("deflate", zlib.compress(TEXT)),
    ("deflate", raw(TEXT)),
]
NAMES = ["gzip", "x-gzip", "zlib", "raw"]


def received(parts: Sequence[bytes], encoding: str, *, limit: int = len(TEXT)) -> bytes:
    """Return what an endpoint receives; each piece of it is small."""
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages[-1]["more_body"] = False
    given = iter(messages)
    whole = bytearray()

    async def receive() -> Message:
        return next(given)

    async def endpoint(scope: Scope, receive: Receive, _: Send) -> None:
        assert dict(scope["headers"]).keys() == {b"host"}
        more = True
        while more:
            message = await receive()
            assert len(message["body"]) <= 256 * 1024
            whole.extend(message["body"])
            more = message["more_body"]

    async def send(_: Message) -> None: ...

    size = str(sum(map(len, parts))).encode()
    headers = [
        (b"host", b"a"),
        (b"content-length", size),
        (b"content-encoding", encoding.encode()),
    ]
    scope: dict[str, Any] = {"type": "http", "path": "/", "method": "POST", "headers": headers}
    guard = BodyLimit(endpoint, max_bytes={BodyClass.CONFIG: limit})
    asyncio.run(guard(scope, receive, send))
    return bytes(whole)


def status_of(body: bytes, encoding: str, *, limit: int = len(TEXT)) -> int:
    with pytest.raises(RequestError) as refused:
        received([body], encoding, limit=limit)
    return refused.value.status


@pytest.mark.parametrize(("encoding", "body"), COMPRESSED, ids=NAMES)
@pytest.mark.parametrize("size", [41, 10_000, 10**9])
def test_a_compressed_body_is_what_it_was(encoding: str, body: bytes, size: int) -> None:
    first, body = body[:1], body[1:]
    parts = [first, *(body[start : start + size] for start in range(0, len(body), size))]
    assert received(parts, encoding) == TEXT


@pytest.mark.parametrize(("encoding", "body"), COMPRESSED, ids=NAMES)
def test_a_compressed_body_is_one_stream_and_all_of_it(encoding: str, body: bytes) -> None:
    encoding = encoding.removeprefix("x-")
    assert status_of(body[:-1], encoding) == 400
    assert status_of(body + b"\0", encoding) == 400
    assert status_of(body + body, encoding) == 400
    assert status_of(b"{}", encoding) == 400
    assert status_of(b"{", encoding) == 400
    assert status_of(body, encoding, limit=len(TEXT) - 1) == 413


def test_a_bomb_does_not_go_off() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    tracemalloc.start()
    try:
        assert status_of(bomb, "gzip", limit=5_000_000) == 413
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12_000_000


@pytest.mark.parametrize("value", ["", "identity", "GZIP", " deflate ", "identity, gzip", ", gzip"])
def test_a_known_encoding_is_told(value: str) -> None:
    expected = value.replace("identity", "").strip(", ").lower() or None
    assert encoding_of(value) == expected


@pytest.mark.parametrize("value", ["br", "gzip, gzip", "zstd", "x-deflate", "gzipped", "gzip;q=1"])
def test_an_unknown_encoding_is_415(value: str) -> None:
    with pytest.raises(RequestError) as refused:
        encoding_of(value)
    assert refused.value.status == 415


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/models/m/predict", "/v1/datasets"])
def test_every_endpoint_decodes_or_tells_what_it_knows(
    sqlite_client: TestClient, path: str
) -> None:
    form = b'--b\r\nContent-Disposition: form-data; name="nosuch"\r\n\r\n1\r\n--b--\r\n'
    body = form if path == "/v1/datasets" else b'{"dataset": {"id": "d", "target": "y"}}'
    media_type = "multipart/form-data; boundary=b" if body == form else "application/json"
    headers = {"Content-Type": media_type}
    plain = sqlite_client.post(path, content=body, headers=headers)
    headers["Content-Encoding"] = "gzip"
    zipped = sqlite_client.post(path, content=gzip.compress(body), headers=headers)
    assert zipped.json() == plain.json()
    assert plain.status_code in (404, 422)
    assert_problem(sqlite_client.post(path, content=body, headers=headers), 400, "invalid_encoding")

    headers["Content-Encoding"] = "br"
    unknown = sqlite_client.post(path, content=body, headers=headers)
    assert "gzip or deflate" in assert_problem(unknown, 415, "unsupported_content_encoding")
    assert unknown.headers["accept-encoding"] == "gzip, deflate"
