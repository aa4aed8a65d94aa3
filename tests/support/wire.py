"""Requests as bytes, also malformed ones."""

import socket
from contextlib import suppress
from urllib.parse import urlsplit

import httpx

MAX_ANSWER_BYTES = 50_000_000


def exchange(address: str, request: bytes) -> httpx.Response:
    """Send bytes on a new connection; return the answer once the service has closed it."""
    server = urlsplit(address)
    answer = bytearray()
    with socket.create_connection((server.hostname, server.port), timeout=60) as connection:
        with suppress(OSError):  # where it refuses before it has read all of it
            connection.sendall(request)
        with suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                answer += chunk
                assert len(answer) < MAX_ANSWER_BYTES
    return _parsed(bytes(answer))


def _parsed(answer: bytes) -> httpx.Response:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    headers = [tuple(line.split(b": ", 1)) for line in lines]
    if (b"transfer-encoding", b"chunked") in headers:
        body = b"".join(_chunks(body))
    kept = [(name, value) for name, value in headers if name != b"transfer-encoding"]
    return httpx.Response(int(status.split()[1]), headers=kept, content=body)


def _chunks(body: bytes) -> list[bytes]:
    chunks = []
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        chunks.append(rest[:length])
        body = rest[length + 2 :]
    return chunks
