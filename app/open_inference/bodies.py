"""The encoding of bodies: the length of the JSON before binary data, and compression."""

import gzip
import zlib

from starlette.datastructures import Headers

from app.http.answers import preferred
from app.http.errors import RequestError
from app.http.inference_errors import bad_request
from app.http.limits import BodyTooLarge

HEADER_LENGTH = "Inference-Header-Content-Length"

MIN_COMPRESSED_BYTES = 16 * 1024  # of an answer: compressing a smaller one saves no time

_ENCODINGS = ("gzip", "deflate")
_FASTEST = 1
_GZIP, _ZLIB, _RAW = 31, 15, -15  # zlib's names for them


def header_length(headers: Headers) -> int | None:
    """Return the length of the JSON if binary data follow it. Raises RequestError (400)."""
    text = headers.get(HEADER_LENGTH)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise bad_request(f"{HEADER_LENGTH} has to be a number of bytes, and not {text!r}")
    return int(text)


def content_encoding(headers: Headers) -> str:
    """Return `identity`, `gzip` or `deflate`. Raises RequestError (415) for any other."""
    encoding = headers.get("content-encoding", "").strip().lower() or "identity"
    if encoding not in ("identity", *_ENCODINGS):
        detail = f"a body may be encoded as {' or '.join(_ENCODINGS)}, and not as {encoding!r}"
        raise RequestError(415, "unsupported_content_encoding", detail)
    return encoding


def decompressed(body: bytes, encoding: str, *, max_bytes: int) -> bytes:
    """Decompress the body; stop soon after `max_bytes`.

    Raises RequestError: 413 if the result is larger, 400 if the body has another encoding, is cut
    off or has bytes after its end. `deflate` is zlib's format (RFC 9110, section 8.4.1.2); raw
    deflate, which many clients send, is accepted too.
    """
    if encoding == "identity":
        return body
    stream = zlib.decompressobj(_window_bits(body, encoding))
    try:
        content = stream.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise bad_request(f"the body is not {encoding}: {error}") from error
    if len(content) > max_bytes:
        raise BodyTooLarge(max_bytes)
    if not stream.eof:
        raise bad_request(f"the body is cut off within its {encoding}")
    if stream.unused_data:
        raise bad_request(f"{len(stream.unused_data)} bytes follow the {encoding} of the body")
    return content


def compressed(body: bytes, accept_encoding: str | None) -> tuple[bytes, str | None]:
    """Return the body, compressed as the client accepts if that is smaller, and its encoding."""
    if not accept_encoding or len(body) < MIN_COMPRESSED_BYTES:
        return body, None
    encoding = preferred(accept_encoding, _ENCODINGS)
    if encoding is None:
        return body, None
    compress = gzip.compress if encoding == "gzip" else zlib.compress
    smaller = compress(body, _FASTEST)
    return (smaller, encoding) if len(smaller) < len(body) else (body, None)


def _window_bits(body: bytes, encoding: str) -> int:
    if encoding == "gzip":
        return _GZIP
    # RFC 1950, section 2.2: the method 8, and a check over both bytes.
    has_header = body[:1] and body[0] & 15 == 8 and int.from_bytes(body[:2]) % 31 == 0
    return _ZLIB if has_header else _RAW
