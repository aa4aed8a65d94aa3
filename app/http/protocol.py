"""HTTP as uvicorn parses it, with limits on a request's head: its line and its headers.

No code of the app runs before the head is complete, so the app cannot time out a head that
does not end. The app limits bodies: see `app/http/limits.py`.
"""

import asyncio
from asyncio import TimerHandle
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.http.errors import problem
from app.http.headers import secured
from app.http.inference_errors import inference_error, is_of_protocol

MAX_HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 20


class HeadTooLarge(Exception):
    """Ends the parsing of a request."""


class BoundedHttp(HttpToolsProtocol):
    """Refuse a request that is not HTTP (400), or whose head is too large (431) or slow (408)."""

    url = b""  # until a request has one
    _head_bytes = 0
    _is_reading_head = False
    _deadline: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        self._is_reading_head = True
        if self._deadline is None:
            self._set_deadline()

    def on_headers_complete(self) -> None:
        if self._parsed_bytes() > MAX_HEAD_BYTES:
            raise HeadTooLarge
        self._is_reading_head = False
        self._clear_deadline()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_reading_head and not self.transport.is_closing():
            self._head_bytes += len(data)  # which the parser keeps
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_head()

    def send_400_response(self, msg: str) -> None:
        if self._is_reading_head and self._parsed_bytes() > MAX_HEAD_BYTES:
            self._refuse_head()
        else:
            self._refuse(HTTPStatus.BAD_REQUEST, "bad_request", msg)

    def _parsed_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _refuse_head(self) -> None:
        detail = f"the request's line and headers may have {MAX_HEAD_BYTES} bytes; these have more"
        self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", detail)

    def _refuse(self, status: HTTPStatus, code: str, detail: str) -> None:
        tell = inference_error if is_of_protocol(self.url.decode("latin-1")) else problem
        answer = tell(status, code, detail, headers={"Connection": "close"})
        lines = [b"HTTP/1.1 %d %s" % (status, status.phrase.encode())]
        lines += [name + b": " + value for name, value in secured(answer.raw_headers)]
        self._is_reading_head = False
        self._clear_deadline()
        self.transport.write(b"\r\n".join([*lines, b"", bytes(answer.body)]))
        self.transport.close()

    def _set_deadline(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._is_late)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _is_late(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._set_deadline()  # the request before this one is still being answered
        elif not self.transport.is_closing():
            detail = f"the request's line and headers took more than {HEAD_SECONDS} s"
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "head_too_slow", detail)
