"""Bodies of requests: check their media type, read them, and parse JSON."""

import json
from email.message import Message
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from app.http.errors import RequestError

JSON = "application/json"

Content = TypeVar("Content", bound=BaseModel)


def require_media_type(request: Request, wanted: str) -> None:
    """Raise RequestError (415) unless the body is declared as `wanted`."""
    declared = request.headers.get("content-type", "")
    if declared == wanted:
        return
    header = Message()
    header["content-type"] = declared
    given = header.get_content_type() if declared else "nothing"
    if given != wanted:
        detail = f"the body has to be {wanted}; {given} was declared"
        raise RequestError(415, "unsupported_media_type", detail)


async def require_json(request: Request) -> None:
    """Raise RequestError: 415 unless the body is declared as JSON, 400 unless it is Unicode."""
    require_media_type(request, JSON)
    require_unicode(await request.body())


async def require_form(request: Request) -> None:
    """Raise RequestError (415) unless the body is declared as a multipart form."""
    require_media_type(request, "multipart/form-data")


async def body_of(request: Request) -> bytes:
    """Return the body, mostly one message. Raise RequestError (400) if the client disconnects."""
    parts = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            detail = "the client closed the connection before its body was complete"
            raise RequestError(400, "disconnected", detail)
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def require_unicode(body: bytes) -> None:
    """Raise RequestError (400) for half of a surrogate pair, which Python's parser accepts."""
    if b"\\ud" in body.lower():
        try:
            from_json(body)
        except ValueError as error:
            raise RequestError(400, "malformed_json", f"the body is not JSON: {error}") from error


def read_json(body: bytes, schema: type[Content]) -> Content:
    """Read a body as FastAPI does, for endpoints that read it themselves.

    Raises RequestError (400) unless it is JSON, and RequestValidationError for wrong fields.
    """
    require_unicode(body)
    try:
        value = json.loads(body)
    except json.JSONDecodeError as error:
        detail = f"the body is not JSON: {error.msg} at character {error.pos}"
        raise RequestError(400, "malformed_json", detail) from error
    except (ValueError, RecursionError) as error:
        raise RequestError(400, "malformed_json", f"the body is not JSON: {error}") from error
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        flaws = [{**flaw, "loc": ("body", *flaw["loc"])} for flaw in error.errors()]
        raise RequestValidationError(flaws, body=value) from error


def documented(body: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """Return the documentation of an endpoint's body, which some clients leave out if they may."""
    schema = body.model_json_schema()
    definitions = schema.pop("$defs", {})
    content = {JSON: {"schema": _inlined(schema, definitions)}}
    return {"requestBody": {"required": required, "content": content}}


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """Return the schema without references, whose targets would have to be in the document."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {name: _inlined(value, definitions) for name, value in schema.items()}
