"""Errors as the protocol has them: JSON with a text `error`, whoever refused the request."""

from collections.abc import Mapping, MutableMapping
from http import HTTPStatus
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.errors import RequestError

_PROBLEM = b"application/problem+json"


class InferenceError(BaseModel):
    """What is wrong, and where; `code` is that of the same problem elsewhere in this service."""

    error: str
    code: str


def bad_request(detail: str) -> RequestError:
    """400, which the protocol has for whatever is wrong with a request."""
    return RequestError(400, "invalid_request", detail)


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How an endpoint's errors look, for its documentation."""
    described: dict[int | str, str] = {status: HTTPStatus(status).phrase for status in statuses}
    described["default"] = "Any other error"
    return {
        status: {"description": description, "model": InferenceError}
        for status, description in described.items()
    }


def inference_error(
    status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """An error as the protocol has it."""
    return JSONResponse(InferenceError(error=detail, code=code).model_dump(), status, headers)


def is_of_protocol(path: str) -> bool:
    """Whether errors there are the protocol's."""
    return path == "/v2" or path.startswith("/v2/")


class InferenceErrors:
    """Tell every problem under `/v2` as the protocol does.

    Around all that answers with one: the caller may be refused before any endpoint is found.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_of_protocol(scope["path"]):
            return await self._app(scope, receive, send)
        start: Message | None = None
        problem = b""

        async def send_translated(message: Message) -> None:
            nonlocal start, problem
            if message["type"] == "http.response.start" and _is_problem(message):
                start = message  # its length is known once the body is
            elif start is None:
                await send(message)
            else:
                problem += message.get("body", b"")
                if not message.get("more_body", False):
                    await _send_error(start, problem, send)

        return await self._app(scope, receive, send_translated)


def _is_problem(start: MutableMapping[str, Any]) -> bool:
    return (b"content-type", _PROBLEM) in start["headers"]


async def _send_error(start: Message, problem: bytes, send: Send) -> None:
    facts = orjson.loads(problem)
    places = [f"{flaw['pointer'] or '/'}: {flaw['detail']}" for flaw in facts["errors"]]
    detail = "; ".join(places[:3]) or facts["detail"]
    answer = inference_error(start["status"], facts["code"], detail)
    MutableHeaders(scope=start).update(answer.headers)
    await send(start)
    await send({"type": "http.response.body", "body": answer.body})
