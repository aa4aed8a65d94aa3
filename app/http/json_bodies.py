"""Bodies of JSON: what they have to be declared as, and what JSON they may not be."""

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
        raise RequestError(
            415, "unsupported_media_type", f"the body has to be {wanted}, and {given} was declared"
        )


def require_unicode(body: bytes) -> None:
    """Raise RequestError (400) for half of a surrogate pair, which passes Python's parser."""
    if b"\\ud" in body.lower():
        try:
            from_json(body)
        except ValueError as error:
            raise RequestError(400, "malformed_json", f"the body is not JSON: {error}") from error


def read(body: bytes, kind: type[Content]) -> Content:
    """What FastAPI makes of a body, for endpoints that it does not read it for.

    Raises RequestError (400) for what is no JSON, and RequestValidationError for other fields.
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
        return kind.model_validate(value)
    except ValidationError as error:
        flaws = [{**flaw, "loc": ("body", *flaw["loc"])} for flaw in error.errors()]
        raise RequestValidationError(flaws, body=value) from error


def documented(kind: type[BaseModel]) -> dict[str, Any]:
    """How such a body looks, for the documentation of the endpoint."""
    schema = kind.model_json_schema()
    definitions = schema.pop("$defs", {})
    content = {JSON: {"schema": _inlined(schema, definitions)}}
    return {"requestBody": {"required": True, "content": content}}


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """The schema with its definitions in place: references are looked up in the whole document."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {name: _inlined(value, definitions) for name, value in schema.items()}
