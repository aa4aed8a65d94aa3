"""Compressed bodies of requests, decompressed as they arrive (RFC 9110, section 8.4)."""

import zlib

from app.http.errors import BodyError, RequestError

ENCODINGS = ("gzip", "deflate")

_HEADER_BYTES = 2  # which tell deflate's two formats apart
_PIECE_BYTES = 256 * 1024  # takes about a millisecond
_GZIP, _ZLIB, _RAW = 31, 15, -15  # zlib's names for them


class InvalidEncoding(BodyError):
    """The body is not what its encoding says."""

    def __init__(self, detail: str) -> None:
        super().__init__(400, "invalid_encoding", detail)


def encoding_of(header: str) -> str | None:
    """Return the encoding in a Content-Encoding header; None if the body has none.

    Raises RequestError (415) for an encoding that is not in ENCODINGS, and for several.
    """
    names = [name.strip().lower() for name in header.split(",")]
    encodings = [name for name in names if name not in ("", "identity")]
    if not encodings:
        return None
    encoding = encodings[0].removeprefix("x-")  # RFC 9110, section 8.4.1.3
    if len(encodings) > 1 or encoding not in ENCODINGS or encodings[0] == "x-deflate":
        known = " or ".join(ENCODINGS)
        detail = f"a body may be encoded as {known}, and not as {header[:100]!r}"
        raise RequestError(415, "unsupported_content_encoding", detail)
    return encoding


class Decoder:
    """Decompresses a body in pieces of bounded size.

    `deflate` is zlib's format (RFC 9110, section 8.4.1.2); raw deflate, which many clients send, is
    accepted too. Raises InvalidEncoding.
    """

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._waiting = b""
        self._stream: zlib._Decompress | None = None

    def feed(self, data: bytes) -> None:
        self._waiting += data
        if self._stream is None and len(self._waiting) >= _HEADER_BYTES:
            self._stream = zlib.decompressobj(_window_bits(self._waiting, self._encoding))
        self._require_one_stream()

    def read(self) -> bytes:
        """Return the next piece; none if more has to be fed, or the stream has ended."""
        if self._stream is None or self._stream.eof:
            return b""
        try:
            piece = self._stream.decompress(self._waiting, _PIECE_BYTES)
        except zlib.error as error:
            raise InvalidEncoding(f"the body is not {self._encoding}: {error}") from error
        self._waiting = self._stream.unconsumed_tail or self._stream.unused_data
        self._require_one_stream()
        return piece

    def end(self) -> None:
        """Raise InvalidEncoding unless the stream has ended with the body."""
        if self._stream is None or not self._stream.eof:
            raise InvalidEncoding(f"the body is cut off within its {self._encoding}")

    def _require_one_stream(self) -> None:
        if self._stream is not None and self._stream.eof and self._waiting:
            raise InvalidEncoding(f"more bytes follow the {self._encoding} of the body")


def _window_bits(body: bytes, encoding: str) -> int:
    if encoding == "gzip":
        return _GZIP
    # RFC 1950, section 2.2: the method 8, and a check over both bytes.
    has_header = body[0] & 15 == 8 and int.from_bytes(body[:2]) % 31 == 0
    return _ZLIB if has_header else _RAW
