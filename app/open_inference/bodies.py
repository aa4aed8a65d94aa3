"""The length of the JSON before binary data, and the compression of answers."""

import gzip
import zlib

from starlette.datastructures import Headers

from app.http.answers import preferred
from app.http.encodings import ENCODINGS
from app.http.inference_errors import bad_request

HEADER_LENGTH = "Inference-Header-Content-Length"

MIN_COMPRESSED_BYTES = 16 * 1024  # of an answer: compressing a smaller one saves no time

_FASTEST = 1


def header_length(headers: Headers) -> int | None:
    """Return the length of the JSON if binary data follow it. Raises RequestError (400)."""
    text = headers.get(HEADER_LENGTH)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise bad_request(f"{HEADER_LENGTH} has to be a number of bytes, and not {text!r}")
    return int(text)


def compressed(body: bytes, accept_encoding: str | None) -> tuple[bytes, str | None]:
    """Return the body, compressed as the client accepts if that is smaller, and its encoding."""
    if not accept_encoding or len(body) < MIN_COMPRESSED_BYTES:
        return body, None
    encoding = preferred(accept_encoding, ENCODINGS)
    if encoding is None:
        return body, None
    compress = gzip.compress if encoding == "gzip" else zlib.compress
    smaller = compress(body, _FASTEST)
    return (smaller, encoding) if len(smaller) < len(body) else (body, None)
