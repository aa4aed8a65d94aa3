"""HTTP as uvicorn parses it, with limits on what a client may send, leave out, or not read.

No code of the app runs before a request's head is complete, and none sees how a body is framed, so
these are limited here. The app limits bodies: see `app/http/limits.py`.
"""

import asyncio
import re
import resource
import socket
import struct
from asyncio import TimerHandle
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NoReturn

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.http.refusals import Refused, bad_request, busy, head_too_large

MAX_HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 20
LINGER_SECONDS = 30  # to throw the rest of a body away whose request is answered already
SEND_SECONDS = 30
MIN_SENT_BYTES = 30 * 1024  # that a client has to read in SEND_SECONDS
NUM_DESCRIPTORS = 8192
OTHER_DESCRIPTORS = 128  # for the database and files; the others are for connections

_SLICE_BYTES = 64 * 1024  # at a time, so that sizes are known well enough
_FRAMING_FACTOR = 16  # chunks of one byte each have six times as many bytes of framing

# RFC 3986, 3.2.2, and a port; an empty name is allowed there, and useless here.
_HOST = re.compile(
    rb"(\[[0-9A-Fa-f:.]+\]|([\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(:\d{0,5})?", re.ASCII
)


class BoundedHttp(HttpToolsProtocol):
    """Answer each valid request, in order, and refuse the first that is not, with these limits:

    - a request's line and headers have a size (431) and a time (408), and so has the framing of a
      chunked body; what trailers say is ignored;
    - a request to change the protocol is ignored (RFC 9110, section 7.8), and its body is a body;
    - a request names one host (400; RFC 9112, section 3.2);
    - a connection is closed that sends nothing, or on which nothing is read;
    - connections leave descriptors for everything else (503).
    """

    url = b""  # until a request has one
    _is_reading_head = False
    _is_reading_body = False
    _is_deaf = False  # what still arrives on the connection is no request
    _has_begun = False  # a request, in this slice
    _head_bytes = 0  # in slices after the one in which the head began
    _body_bytes = 0
    _framing_bytes = 0
    _gap_bytes = 0  # since the last slice with some of the body
    _deadline: TimerHandle | None = None
    _watch: TimerHandle | None = None
    _linger_until = 0.0
    _refusal: Refused | None = None

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > _max_connections():
            self._refuse(busy(_max_connections()))
        else:
            self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._clear_deadline()
        self._stop_watch()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # also if the connection was cut

    def data_received(self, data: bytes) -> None:
        if self._is_reading_body and self.cycle is not None and self.cycle.response_complete:
            self._linger()
        for start in range(0, len(data), _SLICE_BYTES):
            if self._is_deaf or self.transport.is_closing():
                return
            whole = start == 0 and len(data) <= _SLICE_BYTES
            self._parse(data if whole else memoryview(data)[start : start + _SLICE_BYTES])

    def _parse(self, data: bytes | memoryview) -> None:
        self._has_begun = False
        body_bytes = self._body_bytes
        size, rest = len(data), data
        try:
            while rest:
                try:
                    self.parser.feed_data(rest)
                    rest = b""
                except httptools.HttpParserUpgrade as upgrade:
                    rest = rest[upgrade.args[0] :]
                    self._begin_again()
            if not self._has_begun:
                self._count(size, self._body_bytes - body_bytes)
        except httptools.HttpParserError:
            refusal = self._refusal or bad_request("Invalid HTTP request received.")
            if self._is_reading_head and self._parsed_bytes() > MAX_HEAD_BYTES:
                refusal = head_too_large(MAX_HEAD_BYTES)
            self._refuse(refusal)
        except Refused as refusal:
            self._refuse(refusal)

    def _begin_again(self) -> None:
        """Parse the head again without the field that asks for another protocol.

        The parser takes everything after such a head for that protocol, and no body for a body.
        """
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self._version())]
        lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        # As uvicorn does: what follows the last request is not an error.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.parser.feed_data(b"\r\n".join([*lines, b"", b""]))

    def _version(self) -> bytes:
        version: str = self.parser.get_http_version()
        return version.encode()

    def _count(self, size: int, body_bytes: int) -> None:
        """Count a slice that began within a request. Raises Refused if there is too much of it."""
        if self._is_reading_head:
            self._head_bytes += size
            if max(self._head_bytes, self._parsed_bytes()) > MAX_HEAD_BYTES:
                raise head_too_large(MAX_HEAD_BYTES)
        elif self._is_reading_body:
            self._framing_bytes += size - body_bytes
            self._gap_bytes = 0 if body_bytes else self._gap_bytes + size
            allowed = MAX_HEAD_BYTES + _FRAMING_FACTOR * self._body_bytes
            if self._gap_bytes > MAX_HEAD_BYTES or self._framing_bytes > allowed:
                detail = f"the body's chunks or trailers have more than {MAX_HEAD_BYTES} bytes"
                status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                raise Refused(status, "trailers_too_large", f"{detail} around the data")

    # What the parser has found

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._unset_keepalive_if_required()
        self._is_reading_head = self._has_begun = True
        self._head_bytes = self._body_bytes = self._framing_bytes = self._gap_bytes = 0
        if self._deadline is None:
            self._set_deadline()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_reading_head:  # else it is a trailer
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._parsed_bytes() > MAX_HEAD_BYTES:
            self._stop(head_too_large(MAX_HEAD_BYTES))
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._stop(bad_request("this server is no proxy: it has no CONNECT"))
            return  # it begins again
        self._require_known_framing()
        self._require_host()
        super().on_headers_complete()
        self.cycle.transport = _ClosedByAnswer(self)  # type: ignore[assignment]
        self._is_reading_head = False
        self._is_reading_body = True
        self._clear_deadline()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # it begins again
        self._is_reading_body = False
        super().on_message_complete()
        if not self.cycle.keep_alive:
            self._is_deaf = True

    def _should_upgrade(self) -> bool:
        return False

    def _require_known_framing(self) -> None:
        """Refuse another version of HTTP, and a body that is more than cut into chunks."""
        if (version := self._version()) not in (b"1.0", b"1.1"):
            detail = f"this server knows HTTP/1.1, and not HTTP/{version.decode()}"
            status = HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
            self._stop(Refused(status, "version_not_supported", detail))
        codings = {value.lower() for name, value in self.headers if name == b"transfer-encoding"}
        if codings - {b"chunked"}:
            detail = "the only Transfer-Encoding is chunked; a Content-Encoding may be gzip"
            self._stop(Refused(HTTPStatus.NOT_IMPLEMENTED, "unsupported_encoding", detail))

    def _require_host(self) -> None:
        """Refuse a request without a host, or with several; a target with a host replaces it."""
        hosts = [value for name, value in self.headers if name == b"host"]
        if not hosts and self._version() == b"1.0":
            return
        if len(hosts) != 1:
            self._stop(bad_request(f"a request has one header Host; this one has {len(hosts)}"))
        if not self.url.startswith(b"/") and (host := httptools.parse_url(self.url).host):
            port = httptools.parse_url(self.url).port
            hosts = [host if port is None else b"%s:%d" % (host, port)]
            others = [header for header in self.headers if header[0] != b"host"]
            self.headers[:] = [*others, (b"host", hosts[0])]
        if not _HOST.fullmatch(hosts[0]):
            self._stop(bad_request("the header Host is no name or address with a port"))

    def _parsed_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers or ())

    def _stop(self, refusal: Refused) -> NoReturn:
        """Raise the error in a callback; the parser then raises one that does not say why."""
        self._refusal = refusal
        raise refusal

    # Refusals

    def _refuse(self, refusal: Refused) -> None:
        """Answer with the error once the requests before it are answered, then close.

        Nothing else of the connection is read.
        """
        self._is_deaf = True
        self._clear_deadline()
        self._unset_keepalive_if_required()
        invalid = self.cycle if self._is_reading_body else None
        if invalid is not None and invalid.response_started:
            self.transport.close()
            return
        refused = self._cycle_of(refusal)
        if self.pipeline and self.pipeline[0][0] is invalid:  # it waits for its turn
            self.pipeline[0] = refused
        elif self.cycle is None or self.cycle.response_complete:
            self._start_asgi_task(*refused)
        elif invalid is None:
            self.pipeline.appendleft(refused)
        else:
            invalid.disconnected = True
            invalid.message_event.set()
            self._start_asgi_task(*refused)
        self.cycle = refused[0]

    def _cycle_of(self, refusal: Refused) -> tuple[RequestResponseCycle, Any]:
        cycle = RequestResponseCycle(
            scope={"method": "GET"},  # type: ignore[typeddict-item]
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=False,
            on_response=self.on_response_complete,
        )
        path = self.url.decode("latin-1").partition("?")[0]
        return cycle, refusal.answer_at(path)

    # Time

    def close_after_answer(self) -> None:
        """Close a connection on which nothing else is answered.

        If the client still sends, first only the direction of the answer: the reset that a client
        gets for what it sends to a closed connection can overtake the answer.
        """
        self.pipeline.clear()
        if self._is_reading_body and self.transport.can_write_eof():
            self._is_deaf = True
            self.transport.write_eof()
        else:
            self.transport.close()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._stop_watch()
        self._watch_reader()
        if self._is_reading_head:
            self._unset_keepalive_if_required()  # the head's own deadline counts
        elif self._is_reading_body and self.cycle.response_complete:
            self._linger_until = self.loop.time() + LINGER_SECONDS

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size() == 0:
            super().timeout_keep_alive_handler()
        else:  # the client still reads the answer
            self._keep_alive(self.timeout_keep_alive)

    def _keep_alive(self, seconds: float) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def _linger(self) -> None:
        """Go on reading the body of a request that is answered, so that its client can read too."""
        left = self._linger_until - self.loop.time()
        if left > 0:
            self._keep_alive(min(left, self.timeout_keep_alive))
        else:
            self.transport.close()

    def _set_deadline(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._is_late)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _is_late(self) -> None:
        self._deadline = None
        if self.cycle is not None and not self.cycle.response_complete:
            self._set_deadline()  # the request before this one is still being answered
        elif not self.transport.is_closing():
            detail = f"the request's line and headers took more than {HEAD_SECONDS} s"
            self._refuse(Refused(HTTPStatus.REQUEST_TIMEOUT, "head_too_slow", detail))

    # The client as a reader

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_watch()
        if self.transport.is_closing() or self.cycle.response_complete:
            self._watch_reader()  # of the rest: nothing follows that would pause again

    def _watch_reader(self) -> None:
        """Cut the connection unless the client reads what is written, also once it is closed."""
        unread_bytes = self.transport.get_write_buffer_size()
        if self._watch is None and unread_bytes > 0:
            self._watch = self.loop.call_later(SEND_SECONDS, self._check_reader, unread_bytes)

    def _check_reader(self, unread_bytes: int) -> None:
        self._watch = None
        left = self.transport.get_write_buffer_size()
        if left == 0 or unread_bytes - left >= MIN_SENT_BYTES:
            self._watch_reader()
        else:
            # The kernel would keep what it has to send, and go on offering it.
            client = self.transport.get_extra_info("socket")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

    def _stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None


class _ClosedByAnswer:
    """The transport as an answer sees it."""

    def __init__(self, protocol: BoundedHttp) -> None:
        self.write = protocol.transport.write
        self.is_closing = protocol.transport.is_closing
        self.close = protocol.close_after_answer


def raise_descriptor_limit() -> None:
    """Let this process have more descriptors, where it may: a shell gives it 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = NUM_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(NUM_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@lru_cache(maxsize=1)
def _max_connections() -> int:
    """Return how many connections leave the process enough descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else max(soft // 2, soft - OTHER_DESCRIPTORS)
