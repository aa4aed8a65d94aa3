"""How an uploaded file is to be read: the fields of a form, and what is wrong with the file."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, Form, Request
from pydantic import ValidationError

from app.http.errors import Flaw, RequestError, escaped, invalid
from dropout_core.data.ingest import Limits, ReadOptions
from dropout_core.errors import DataError
from store.settings import Settings

# What a form says badly, or not at all: an empty field is one that was not given.
_DELIMITERS = {"tab": "\t", "comma": ",", "semicolon": ";"}
_QUOTES = {"none": ""}


def _read_options(
    *,
    delimiter: Annotated[
        str | None,
        Form(description="Of a text file: a character or `tab`; detected if not given."),
    ] = None,
    quote: Annotated[
        str | None, Form(description="Of a text file: `\"`, `'` or `none`; detected if not given.")
    ] = None,
    encoding: Annotated[
        str | None,
        Form(description="Of a text file, such as `latin-1`; UTF-8 and UTF-16 are detected."),
    ] = None,
    header: Annotated[
        bool | None,
        Form(description="Whether the first row has the names; detected if not given."),
    ] = None,
    missing: Annotated[
        list[str] | None,
        Form(description="A word for a missing value; may be repeated. The usual ones if none is."),
    ] = None,
) -> ReadOptions:
    given = {
        "delimiter": None if delimiter is None else _DELIMITERS.get(delimiter, delimiter),
        "quote": None if quote is None else _QUOTES.get(quote, quote),
        "encoding": encoding,
        "header": header,
        "missing": None if missing is None else tuple(missing),
    }
    try:
        return ReadOptions.model_validate(given)
    except ValidationError as error:
        flaws = [Flaw(pointer=f"/{flaw['loc'][0]}", detail=flaw["msg"]) for flaw in error.errors()]
        detail = "; ".join(f"{flaw.pointer}: {flaw.detail}" for flaw in flaws)
        raise RequestError(422, "invalid_request", detail, flaws) from error


Reading = Annotated[ReadOptions, Depends(_read_options)]


def only_fields(*own: str) -> Callable[[Request], Awaitable[None]]:
    """A dependency that raises 422 for a form's field that is none of its `own` and no option."""
    known = (*own, *ReadOptions.model_fields)

    async def refuse_others(request: Request) -> None:
        unknown = [name for name in await request.form() if name not in known]
        if unknown:
            detail = f"no such field; there are {', '.join(known)}"
            flaws = [Flaw(pointer=f"/{escaped(name)}", detail=detail) for name in unknown]
            names = ", ".join(repr(name) for name in unknown)
            raise RequestError(422, "invalid_request", f"{names}: {detail}", flaws)

    return refuse_others


@contextmanager
def refusing_unusable() -> Iterator[None]:
    """Answer 422 to a file that cannot be used, naming the option at fault if there is one."""
    try:
        yield
    except DataError as error:
        field = error.field if error.field in ReadOptions.model_fields else "file"
        raise invalid(f"/{field}", str(error)) from error


def limits(settings: Settings) -> Limits:
    """What reading an upload may take."""
    return Limits(
        max_bytes=settings.max_upload_bytes,
        memory_bytes=settings.read_memory_bytes,
        seconds=settings.read_seconds,
        max_columns=settings.max_columns,
    )
