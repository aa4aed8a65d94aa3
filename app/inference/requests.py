"""Read the body of a prediction request without making an object of every value in it."""

from typing import Any

from app.http.bodies import parse_json, validated
from app.http.errors import escaped, invalid
from app.inference.schemas import PredictRequest
from app.serving import instances
from app.serving.json_views import NotSmall, is_array, is_object, plain_if_small

_MAX_FIELDS = 100  # of which those that do not exist are named


def read(body: bytes) -> tuple[PredictRequest, Any]:
    """Return the request without its rows, and the rows as the parser's views.

    Raises RequestError (400) unless the body is JSON, RequestValidationError for wrong fields and
    TooManyRows.
    """
    document = parse_json(body)
    rows = document["instances"] if is_object(document) and "instances" in document else None
    if rows is not None and is_array(rows):
        instances.require_row_count(len(rows))
    return validated(_small(document), PredictRequest), rows


def _small(document: Any) -> Any:
    """Return the document with at most one row, which stands for all of them."""
    if not is_object(document):
        return [] if is_array(document) else document
    if len(document) > _MAX_FIELDS:
        known = ", ".join(f"`{name}`" for name in PredictRequest.model_fields)
        raise invalid("", f"the body has {len(document)} fields; it may have {known}")
    return {name: _small_field(name, document) for name in document}


def _small_field(name: str, document: Any) -> Any:
    if name not in PredictRequest.model_fields:
        return None  # and refused
    value = document[name]
    if name == "instances" and is_array(value):
        return [None] * min(1, len(value))
    try:
        return plain_if_small(value)
    except NotSmall as error:
        raise invalid(f"/{escaped(name)}", str(error)) from error
