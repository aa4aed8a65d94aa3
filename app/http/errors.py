"""Every error as `application/problem+json` (RFC 9457): what is wrong, and where in the request.

The engines below raise errors without a status: STATUS has it. Endpoints raise RequestError.
"""

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from polars.exceptions import PolarsError
from pydantic import BaseModel, Field
from sqlalchemy.exc import DataError, SQLAlchemyError
from starlette.exceptions import HTTPException

from app.http.routes import allowed_methods
from app.serving import errors as serving_errors
from dropout_core.errors import ModelError
from dropout_core.files import is_disk_full
from store import errors as store_errors
from store.database.engine import is_full, is_unavailable

RETRY_AFTER_SECONDS = 5
QUOTA_RETRY_SECONDS = 30  # jobs end by themselves, datasets are deleted
MAX_FLAWS = 100  # named in one answer
MAX_TEXT = 1_000  # characters of a text in an answer, which may quote the request
_RETRY_AFTER = {
    429: {"Retry-After": str(QUOTA_RETRY_SECONDS)},
    503: {"Retry-After": str(RETRY_AFTER_SECONDS)},
}

STATUS: dict[type[Exception], int] = {
    store_errors.DatasetNotFound: 404,
    store_errors.JobNotFound: 404,
    store_errors.SweepNotFound: 404,
    store_errors.ModelNotFound: 404,
    store_errors.NameNotFound: 404,
    store_errors.AliasNotFound: 404,
    store_errors.DatasetInUse: 409,
    store_errors.ModelAliased: 409,
    store_errors.ModelUnloaded: 409,
    store_errors.QuotaExceeded: 429,
    store_errors.IllegalTransition: 409,
    store_errors.IllegalSweepTransition: 409,
    store_errors.TrialNeeded: 409,
    store_errors.RequestInFlight: 409,
    store_errors.IdempotencyKeyReused: 422,
    serving_errors.HeldOutRowsGone: 409,
    serving_errors.AnswerTooLarge: 413,
    serving_errors.TooManyRows: 413,
    serving_errors.InvalidInstance: 422,
    serving_errors.InvalidMetric: 422,
    serving_errors.TooManyRepeats: 422,
    serving_errors.UnusableDataset: 422,
    serving_errors.ModelLoading: 503,
    serving_errors.QueueFull: 503,
    store_errors.ArtifactDamaged: 500,
    ModelError: 500,
}

# The code of any other error in STATUS is its name.
ERROR_CODES: dict[type[Exception], str] = {
    store_errors.IllegalSweepTransition: "illegal_transition",
    serving_errors.InvalidInstance: "invalid_request",
    serving_errors.InvalidMetric: "invalid_request",
    serving_errors.TooManyRepeats: "invalid_request",
    serving_errors.UnusableDataset: "invalid_request",
    serving_errors.QueueFull: "busy",
}

# The value of the body that is wrong; an instance's index and cell follow.
POINTERS: dict[type[Exception], str] = {
    serving_errors.HeldOutRowsGone: "/dataset",
    serving_errors.InvalidInstance: "/instances",
    serving_errors.InvalidMetric: "/metric",
    serving_errors.TooManyRepeats: "/num_repeats",
    serving_errors.UnusableDataset: "/dataset",
}

# For the framework's own errors.
CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed"}

_UNSTORABLE = "a value contains characters that the database cannot store"

log = structlog.get_logger()


class Flaw(BaseModel):
    """One thing wrong with a request."""

    pointer: str = Field(description="JSON pointer into the body, or the name of a parameter.")
    detail: str


class Problem(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[Flaw] = []


class RequestError(Exception):
    """A request is refused: the status, code and detail of the answer, and each flaw."""

    def __init__(self, status: int, code: str, detail: str, errors: Iterable[Flaw] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = list(errors)


class BodyError(RequestError, HTTPException):
    """An error while the body is read. FastAPI would wrap any error but an HTTPException."""


def invalid(pointer: str, detail: str) -> RequestError:
    """Return the error (422) for one value of the body."""
    return RequestError(422, "invalid_request", detail, [Flaw(pointer=pointer, detail=detail)])


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the schema of an endpoint's errors, for its documentation."""
    schema = Problem.model_json_schema()
    # References are looked up in the whole document, which does not have these definitions.
    schema["properties"]["errors"]["items"] = schema.pop("$defs")["Flaw"]
    content = {"application/problem+json": {"schema": schema}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in statuses
    }


def install(app: FastAPI) -> None:
    """Answer every exception of the app with a problem."""
    app.add_exception_handler(RequestError, _request_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(SQLAlchemyError, database_problem)
    app.add_exception_handler(store_errors.StorageUnavailable, _storage_error)
    for failure in (OSError, PolarsError):
        app.add_exception_handler(failure, _file_error)
    app.add_exception_handler(Exception, _unexpected)
    for error_class in STATUS:
        app.add_exception_handler(error_class, _known_error)


def problem(
    status: int,
    code: str,
    detail: str,
    errors: Iterable[Flaw] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return an error's answer; 429 and 503 say when to try again, by default."""
    headers = headers or _RETRY_AFTER.get(status)
    detail = shortened(detail)
    flaws = [
        Flaw(pointer=shortened(flaw.pointer), detail=shortened(flaw.detail)) for flaw in errors
    ]
    body = Problem(
        type=f"urn:dropout-service:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        errors=flaws[:MAX_FLAWS],
    )
    return JSONResponse(body.model_dump(), status, headers, media_type="application/problem+json")


def shortened(text: str) -> str:
    """Return the text, without its middle if it is too long for an answer."""
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    return f"{text[:half]} [...] {text[-half:]}"


def pointer_to(location: Sequence[str | int], body: Any, *, missing: bool = False) -> str:
    """Return the JSON pointer of a validation error's location.

    Pydantic puts the tags of unions into locations: parts that the body does not have are left out,
    except for the last part of what is `missing`.
    """
    parts, value = [], body
    for index, part in enumerate(location):
        if _has(value, part):
            value = value[part]
        elif not missing or index < len(location) - 1:
            continue
        parts.append(escaped(part))
    return "".join(f"/{part}" for part in parts)


def escaped(part: str | int) -> str:
    """Return a name or an index as a part of a JSON pointer (RFC 6901, section 3)."""
    return str(part).replace("~", "~0").replace("/", "~1")


def _has(value: Any, part: str | int) -> bool:
    if isinstance(value, list):
        return isinstance(part, int) and part < len(value)
    return isinstance(value, Mapping) and part in value


def _snake_case(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def _request_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestError)
    return problem(error.status, error.code, error.detail, error.errors)


def _known_error(_: Request, error: Exception) -> JSONResponse:
    known = next(base for base in type(error).__mro__ if base in STATUS)
    code = ERROR_CODES.get(known) or _snake_case(type(error).__name__)
    flaws = []
    if (pointer := POINTERS.get(known)) is not None:
        if isinstance(error, serving_errors.InvalidInstance):
            parts = [part for part in (error.index, error.cell) if part is not None]
            pointer += "".join(f"/{escaped(part)}" for part in parts)
        flaws = [Flaw(pointer=pointer, detail=str(error))]
    if STATUS[known] == HTTPStatus.INTERNAL_SERVER_ERROR:  # such as a damaged file
        log.error("the request failed", code=code, error=str(error))
    return problem(STATUS[known], code, str(error), flaws)


def _validation_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if found and found[0]["type"] == "json_invalid":
        why, where = found[0]["ctx"]["error"], found[0]["loc"][-1]
        return problem(400, "malformed_json", f"the body is not JSON: {why} at character {where}")
    flaws = []
    for flaw in found[:MAX_FLAWS]:
        source, *location = flaw["loc"]
        if source == "body":
            pointer = pointer_to(location, error.body, missing=flaw["type"] == "missing")
        else:
            pointer = ".".join(map(str, location))
        flaws.append(Flaw(pointer=pointer, detail=told_of(flaw)))
    detail = "; ".join(f"{flaw.pointer or '/'}: {flaw.detail}" for flaw in flaws[:3])
    more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
    return problem(422, "invalid_request", detail + more, flaws)


def told_of(flaw: Mapping[str, Any]) -> str:
    """Return what a validation error says."""
    if flaw["type"] == "union_tag_not_found":
        return f"the object has no {flaw['ctx']['discriminator']}, which says what its fields mean"
    return str(flaw["msg"])


def _http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if is_disk_full(error.__cause__):  # FastAPI calls a form that it could not store malformed
        return _disk_full_problem()
    code = CODES.get(error.status_code, "http_error")
    detail, headers = str(error.detail), error.headers
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = "there is no such path"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        methods_of_files = ["GET", "HEAD"]
        allowed = allowed_methods(request.scope, request.app.routes) or methods_of_files
        methods = ", ".join(allowed)
        detail = f"the path has no such method; it has {methods}"
        headers = {"Allow": methods}
    return problem(error.status_code, code, detail, headers=headers)


def database_problem(request: Request, error: Exception) -> JSONResponse:
    """Return the answer to a request for which the database failed."""
    if is_full(error):
        return _disk_full_problem()
    if is_unavailable(error):
        return problem(503, "database_unavailable", "the database does not answer; try again")
    if isinstance(error, DataError):  # such as a NUL, which PostgreSQL does not take as text
        return problem(422, "invalid_request", _UNSTORABLE)
    return _unexpected(request, error)


def _storage_error(_: Request, error: Exception) -> JSONResponse:
    log.warning("the artifact storage does not answer", error=str(error))
    return problem(503, "storage_unavailable", "the artifact storage does not answer; try again")


def _file_error(request: Request, error: Exception) -> JSONResponse:
    return _disk_full_problem() if is_disk_full(error) else _unexpected(request, error)


def _disk_full_problem() -> JSONResponse:
    log.error("the disk is full")
    return problem(507, "disk_full", "the service has no disk space left to store this")


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("unexpected error", path=request.url.path, exc_info=error)
    return problem(500, "internal_error", "something went wrong in the service; its log says what")
