import gzip
import random
import tracemalloc
import zlib

import pytest
from starlette.datastructures import Headers

from app.http.errors import RequestError
from app.open_inference import bodies

TEXT = b"".join(b"row %d, " % n for n in range(5_000))


def raw(content: bytes) -> bytes:
    """A stream without zlib's header."""
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(content) + stream.flush()


COMPRESSED = [
    ("gzip", gzip.compress(TEXT, mtime=0)),
    ("deflate", zlib.compress(TEXT)),
    ("deflate", raw(TEXT)),
]


def status_of(body: bytes, encoding: str, *, max_bytes: int = len(TEXT)) -> int:
    with pytest.raises(RequestError) as refused:
        bodies.decompressed(body, encoding, max_bytes=max_bytes)
    return refused.value.status


@pytest.mark.parametrize(("encoding", "body"), COMPRESSED, ids=["gzip", "zlib", "raw"])
def test_a_compressed_body_is_what_it_was(encoding: str, body: bytes) -> None:
    assert bodies.decompressed(body, encoding, max_bytes=len(TEXT)) == TEXT
    assert bodies.decompressed(body, "identity", max_bytes=1) == body


@pytest.mark.parametrize(("encoding", "body"), COMPRESSED, ids=["gzip", "zlib", "raw"])
def test_a_compressed_body_is_one_stream_and_all_of_it(encoding: str, body: bytes) -> None:
    assert status_of(body[:-1], encoding) == 400
    assert status_of(body + b"\0", encoding) == 400
    assert status_of(body + body, encoding) == 400
    assert status_of(b"", encoding) == 400
    assert status_of(b"{}", encoding) == 400
    assert status_of(body, encoding, max_bytes=len(TEXT) - 1) == 413


def test_a_bomb_does_not_go_off() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    tracemalloc.start()
    try:
        assert status_of(bomb, "gzip", max_bytes=100_000) == 413
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.parametrize("value", ["", "identity", "GZIP", " deflate "])
def test_a_known_encoding_is_told(value: str) -> None:
    headers = Headers({"Content-Encoding": value})
    assert bodies.content_encoding(headers) in {value.strip().lower(), "identity"}


@pytest.mark.parametrize("value", ["br", "gzip, gzip", "zstd"])
def test_an_unknown_encoding_is_415(value: str) -> None:
    with pytest.raises(RequestError) as refused:
        bodies.content_encoding(Headers({"Content-Encoding": value}))
    assert refused.value.status == 415


def test_the_length_of_the_json_is_a_number() -> None:
    assert bodies.header_length(Headers({bodies.HEADER_LENGTH: "120"})) == 120
    assert bodies.header_length(Headers({})) is None
    for text in ("", "-1", "+1", "1.5", "0x10", "many", "²", "9" * 30, "1, 1"):
        with pytest.raises(RequestError, match="Inference-Header-Content-Length"):
            bodies.header_length(Headers({bodies.HEADER_LENGTH: text}))


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate, br", "gzip"),
        ("gzip;q=0.5, deflate", "deflate"),
        ("gzip;q=0", None),
        ("br", None),
        ("", None),
        (None, None),
    ],
)
def test_an_answer_is_compressed_as_the_client_accepts(
    accepted: str | None, encoding: str | None
) -> None:
    body, told = bodies.compressed(TEXT, accepted)
    assert told == encoding
    assert bodies.decompressed(body, told or "identity", max_bytes=len(TEXT)) == TEXT


def test_an_answer_is_left_as_it_is_where_nothing_is_won() -> None:
    for body in (TEXT[: bodies.MIN_COMPRESSED_BYTES - 1], random.Random(0).randbytes(100_000)):
        assert bodies.compressed(body, "gzip") == (body, None)
