"""Uploaded files: received in a folder of their own, and read as the form's fields say."""

import hashlib
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
from fastapi import Depends, Form, Request, UploadFile
from pydantic import ValidationError

from app.http.errors import Flaw, RequestError, escaped, invalid
from dropout_core.data.ingest import Limits
from dropout_core.data.read_options import ReadOptions
from dropout_core.errors import DataError
from store.settings import Settings

_CHUNK_BYTES = 1024**2

# Words for values that a form cannot have: an empty field counts as not given.
_DELIMITERS = {"tab": "\t", "comma": ",", "semicolon": ";"}
_QUOTES = {"none": ""}
_SEPARATORS = {"comma": ",", "point": ".", "space": " ", "apostrophe": "'", "none": ""}


class Upload:
    """The files of a request, in a folder in `parent` that is deleted when the block ends.

    `sha256` is the checksum of all files in order. Raises OSError, and leaves no file then.
    """

    def __init__(self, parent: Path, files: Sequence[UploadFile]) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(dir=parent)
        self._digest = hashlib.sha256()
        self.folder = Path(self._folder.name)
        try:
            self.paths = [self._receive(file, number) for number, file in enumerate(files)]
        except BaseException:
            self._folder.cleanup()
            raise
        self.sha256 = self._digest.hexdigest()

    def __enter__(self) -> "Upload":
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    @property
    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.paths)

    def _receive(self, file: UploadFile, number: int) -> Path:
        path = self.folder / f"received-{number}"
        with path.open("wb") as target:
            while chunk := file.file.read(_CHUNK_BYTES):
                self._digest.update(chunk)
                target.write(chunk)
        return path


def _upload_options(
    *,
    delimiter: Annotated[
        str | None,
        Form(description="For a text file: a character or `tab`; detected if not given."),
    ] = None,
    quote: Annotated[
        str | None, Form(description="For a text file: `\"`, `'` or `none`; detected if not given.")
    ] = None,
    encoding: Annotated[
        str | None,
        Form(description="For a text file, such as `latin-1`; UTF-8 and UTF-16 are detected."),
    ] = None,
    header: Annotated[
        bool | None,
        Form(description="Whether the first row has the names; detected if not given."),
    ] = None,
    missing: Annotated[
        list[str] | None,
        Form(
            description="A word for a missing value, beside the usual ones such as `NA`, `None` "
            "and `-`; may be repeated."
        ),
    ] = None,
    default_missing: Annotated[
        bool, Form(description="Whether the usual words for a missing value count.")
    ] = True,
    decimal: Annotated[
        str | None,
        Form(description="For numbers in text: `point` or `comma`; detected if not given."),
    ] = None,
    thousands: Annotated[
        str | None,
        Form(
            description="For numbers in text: `comma`, `point`, `space`, `apostrophe` or `none`; "
            "detected if not given."
        ),
    ] = None,
    date_format: Annotated[
        str | None,
        Form(description="For dates in text, such as `%Y%m%d`; the usual ones are detected."),
    ] = None,
    day_first: Annotated[
        bool | None,
        Form(
            description="Whether 02/03/2024 is in March; the dates of the file tell if not given."
        ),
    ] = None,
    types: Annotated[
        str | None,
        Form(
            description="For a text file, the types of columns as a JSON object, such as "
            '`{"income": "numeric", "zip": "categorical"}`. Cells of another type are missing.'
        ),
    ] = None,
    skip_rows: Annotated[
        int, Form(description="The number of lines before the header or the first row.")
    ] = 0,
    comment: Annotated[
        str | None, Form(description="The sign that lines begin with that are no rows.")
    ] = None,
) -> ReadOptions:
    given = {
        "delimiter": None if delimiter is None else _DELIMITERS.get(delimiter, delimiter),
        "quote": None if quote is None else _QUOTES.get(quote, quote),
        "encoding": encoding,
        "header": header,
        "missing": tuple(missing or ()),
        "default_missing": default_missing,
        "decimal": None if decimal is None else _SEPARATORS.get(decimal, decimal),
        "thousands": None if thousands is None else _SEPARATORS.get(thousands, thousands),
        "date_format": date_format,
        "day_first": day_first,
        "types": _types(types),
        "skip_rows": skip_rows,
        "comment": comment,
    }
    try:
        return ReadOptions.model_validate(given)
    except ValidationError as error:
        flaws = [Flaw(pointer=f"/{flaw['loc'][0]}", detail=flaw["msg"]) for flaw in error.errors()]
        detail = "; ".join(f"{flaw.pointer}: {flaw.detail}" for flaw in flaws)
        raise RequestError(422, "invalid_request", detail, flaws) from error


def _types(given: str | None) -> Any:
    """Return the object that the field holds; its values are checked with the other options."""
    try:
        types = {} if given is None else orjson.loads(given)
    except ValueError as error:
        raise invalid("/types", f"not a JSON object: {error}") from error
    if not isinstance(types, dict):
        raise invalid("/types", "not a JSON object")
    return types


UploadOptions = Annotated[ReadOptions, Depends(_upload_options)]


def only_fields(*own: str) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency that raises RequestError (422) for fields that the form does not have."""
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
    """Raise RequestError (422) for a file that cannot be used, naming the option that is wrong."""
    try:
        yield
    except DataError as error:
        field = error.field if error.field in ReadOptions.model_fields else "file"
        raise invalid(f"/{field}", str(error)) from error


def upload_limits(settings: Settings) -> Limits:
    """Return the limits on reading an uploaded file."""
    return Limits(
        max_bytes=settings.max_upload_bytes,
        memory_bytes=settings.read_memory_bytes,
        seconds=settings.read_seconds,
        max_columns=settings.max_columns,
    )
