import gzip
import random
import zlib

import pytest
from starlette.datastructures import Headers

from app.http.errors import RequestError
from app.open_inference import bodies

TEXT = b"".join(b"row %d, " % n for n in range(5_000))


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
    read = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}[told]
    assert read(body) == TEXT


def test_an_answer_is_left_as_it_is_where_nothing_is_won() -> None:
    for body in (TEXT[: bodies.MIN_COMPRESSED_BYTES - 1], random.Random(0).randbytes(100_000)):
        assert bodies.compressed(body, "gzip") == (body, None)
