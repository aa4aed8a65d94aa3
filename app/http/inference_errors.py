"""Errors under `/v2` as the Open Inference Protocol defines them: JSON with a text `error`.

The path decides the form, not the route: this includes paths without a route, and requests whose
headers were never complete.
"""

from collections.abc import Mapping, MutableMapping
from http import HTTPStatus
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.errors import RequestError, shortened

PREFIX = "/v2"

_PROBLEM = b"application/problem+json"


class InferenceError(BaseModel):
    """The error and its position; `code` is the same as in this service's other errors."""

    error: str
    code: str


def bad_request(detail: str) -> RequestError:
    """Return the error (400) that the protocol has for every invalid request."""
    return RequestError(400, "invalid_request", detail)


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the schema of an endpoint's errors, for its documentation."""
    described: dict[int | str, str] = {status: HTTPStatus(status).phrase for status in statuses}
    described["default"] = "Any other error"
    return {
        status: {"description": description, "model": InferenceError}
        for status, description in described.items()
    }


def inference_error(
    status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Return an error in the protocol's form."""
    return JSONResponse(
        InferenceError(error=shortened(detail), code=code).model_dump(), status, headers
    )


def is_of_protocol(path: str) -> bool:
    """Return whether errors at this path have the protocol's form."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


class InferenceErrors:
    """Translate every problem under `/v2` into the protocol's form.

    It is outside every middleware that answers with a problem, such as authentication.
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
                start = message  # sent with the body, whose length it tells
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
    fields = orjson.loads(problem)
    flaws = [f"{flaw['pointer'] or '/'}: {flaw['detail']}" for flaw in fields["errors"][:3]]
    detail = "; ".join(flaws) or fields["detail"]
    answer = inference_error(start["status"], fields["code"], detail)
    MutableHeaders(scope=start).update(answer.headers)
    await send(start)
    await send({"type": "http.response.body", "body": answer.body})
