import asyncio
from typing import Any

import pytest
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.server import StoppedRequests


async def _wait(_: Scope, receive: Receive, __: Send) -> None:
    """Wait for a body that never ends, or for a computation."""
    await receive()


async def _send_for_ever(scope: Scope, receive: Receive, send: Send) -> None:
    async def parts() -> Any:
        yield b"part"
        await asyncio.Event().wait()

    await StreamingResponse(parts())(scope, receive, send)


@pytest.mark.parametrize(
    ("app", "answers"),
    [
        (_wait, [("http.response.start", 503), ("http.response.body", None)]),
        (_send_for_ever, [("http.response.start", 200), ("http.response.body", None)]),
    ],
)
def test_a_request_that_the_server_cancels_is_told_to_try_again(
    app: ASGIApp, answers: list[tuple[str, int | None]]
) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        scope = {"type": "http", "asgi": {"spec_version": "2.4"}}
        request = asyncio.create_task(StoppedRequests(app)(scope, receive, send))  # type: ignore[arg-type]
        for _ in range(10):
            await asyncio.sleep(0)
        request.cancel()
        await request

    asyncio.run(run())
    assert [(message["type"], message.get("status")) for message in sent] == answers
    if answers[0][1] == 503:
        assert dict(sent[0]["headers"])[b"retry-after"]
        assert b'"stopping"' in sent[1]["body"]
