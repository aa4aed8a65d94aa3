"""Bodies of requests: check their media type, read them, and parse JSON."""

import json
from collections.abc import Callable, Coroutine, Iterable, Iterator
from email.message import Message
from typing import Any, TypeVar

import simdjson
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from app.http.errors import BodyError, Flaw, RequestError, escaped
from app.serving.json_views import is_array, is_object

JSON = "application/json"
MAX_FIELDS = 100  # of an object
MAX_ENTRIES = 100_000  # of an array, and of an object with an entry for each column
MAX_CONTAINERS = 10_000  # arrays and objects
BY_COLUMN = ("types",)  # fields with such objects
MAX_OBJECTS = 2_000_000  # which take 100 to 200 MB

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


class BoundedRequest(Request):
    """A request whose JSON is counted before Python's parser makes an object of each value."""

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            self._json = _loaded(await self.body())
        return self._json


class BoundedRoute(APIRoute):
    """A route whose endpoint has a body that FastAPI reads."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_bounded(request: Request) -> Response:
            return await handle(BoundedRequest(request.scope, request.receive))

        return handle_bounded


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


def _loaded(body: bytes) -> Any:
    """Parse the JSON of a config.

    Raises BodyError (422) for more values than any config has: pydantic would describe every one
    that is wrong, which takes fifteen seconds for a body of 4 MiB. Otherwise as `json.loads`.
    """
    try:
        document = simdjson.Parser().parse(body)
    except (ValueError, RuntimeError):  # invalid, or with NaN, or with a huge integer
        value = json.loads(body)
        _require_moderate(value)
        return value
    _require_moderate(document)
    return json.loads(body)


def _require_moderate(document: Any) -> None:
    found: list[tuple[str, Any, int]] = []
    if is_array(document) or is_object(document):
        found.append(("", document, MAX_FIELDS))
    num_found = 0
    while found:
        pointer, value, max_fields = found.pop()
        num_found += 1
        if num_found > MAX_CONTAINERS:
            raise _too_many("", f"the body has more than {MAX_CONTAINERS} arrays and objects")
        limit = MAX_ENTRIES if is_array(value) else max_fields
        if len(value) > limit:
            raise _too_many(pointer, f"{len(value)} entries are too many; the limit is {limit}")
        for name, part in _containers(value):
            max_fields = MAX_ENTRIES if name in BY_COLUMN else MAX_FIELDS
            found.append((f"{pointer}/{escaped(name)}", part, max_fields))


def _containers(value: Any) -> Iterator[tuple[str | int, Any]]:
    """Yield the arrays and objects in a value; those of an object by column are not looked for."""
    if is_array(value):
        entries: Iterable[tuple[str | int, Any]] = enumerate(value)
    elif len(value) <= MAX_FIELDS:
        # The parser finds no name with a NUL; no field has one.
        entries = ((name, value.get(name)) for name in value)
    else:
        return
    for name, part in entries:
        if is_array(part) or is_object(part):
            yield name, part


def _too_many(pointer: str, detail: str) -> BodyError:
    return BodyError(422, "invalid_request", detail, [Flaw(pointer=pointer, detail=detail)])


def read_json(body: bytes, schema: type[Content]) -> Content:
    """Read a body as FastAPI does, for endpoints that read it themselves.

    Raises RequestError (400) unless it is JSON, and RequestValidationError for wrong fields.
    """
    require_unicode(body)
    try:
        value = _loaded(body)
    except json.JSONDecodeError as error:
        detail = f"the body is not JSON: {error.msg} at character {error.pos}"
        raise RequestError(400, "malformed_json", detail) from error
    except (ValueError, RecursionError) as error:
        raise RequestError(400, "malformed_json", f"the body is not JSON: {error}") from error
    return validated(value, schema)


def validated(value: Any, schema: type[Content]) -> Content:
    """Return a value as the schema has it. Raises RequestValidationError for wrong fields."""
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        flaws = [{**flaw, "loc": ("body", *flaw["loc"])} for flaw in error.errors()]
        raise RequestValidationError(flaws, body=value) from error


def parse_json(body: bytes | memoryview) -> Any:
    """Parse a large body. Objects and arrays are the parser's views where it can read the text.

    Raises RequestError (400) unless the body is JSON.
    """
    try:
        return simdjson.Parser().parse(body)
    except (ValueError, RuntimeError):
        pass  # the other parser reads huge integers, and NaN as the Triton client writes it
    text = bytes(body)
    if sum(map(text.count, (b",", b"[", b"{"))) > MAX_OBJECTS:  # it makes an object of each
        detail = "the body is not JSON, or has NaN or integers of 2^64 and more: write them as text"
        raise RequestError(400, "malformed_json", detail)
    try:
        return from_json(text)
    except ValueError as error:
        raise RequestError(400, "malformed_json", f"the body is not JSON: {error}") from error


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
