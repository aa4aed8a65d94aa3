"""Parts of answers: times, pages of lists, files, and the media type that a client prefers."""

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from os import fstat
from pathlib import Path
from typing import Annotated, BinaryIO, Generic, TypeVar

from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, BeforeValidator, PlainSerializer
from starlette.types import Receive, Scope, Send

MAX_BYTES_IN_MEMORY = 512 * 1024  # of an answer that its client has not read yet

_CHUNK_BYTES = 256 * 1024
# A part, or a separator; a quote that is not closed reaches to the end.
_PARTS = {mark: rf'(?:[^"{mark}]|"(?:[^"\\]|\\.)*(?:"|\\?\Z))+|{mark}' for mark in ",;"}

Item = TypeVar("Item", bound=BaseModel)


def _from_seconds(value: float | datetime | None) -> datetime | None:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else value


def _rfc3339(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# Unix seconds in the store, RFC 3339 UTC on the wire.
Time = Annotated[datetime, BeforeValidator(_from_seconds), PlainSerializer(_rfc3339)]


class Page(BaseModel, Generic[Item]):
    """A page of a list; `?after=last_id` returns the next page."""

    data: list[Item]
    has_more: bool
    last_id: str | None


def page_of(items: Sequence[Item], ids: Sequence[str], limit: int) -> Page[Item]:
    """Return a page of up to `limit` items. One item beyond the limit sets `has_more`."""
    kept = list(items[:limit])
    return Page(
        data=kept, has_more=len(items) > limit, last_id=ids[len(kept) - 1] if kept else None
    )


def download(path: Path, *, filename: str, media_type: str) -> StreamingResponse:
    """Return a file as an answer. It may be deleted as soon as this returns.

    `filename` is ASCII without quotes. Raises OSError.
    """
    file = path.open("rb")  # an open file can still be read once it is deleted
    disposition = {"Content-Disposition": f'attachment; filename="{filename}"'}
    return _from_file(file, media_type=media_type, headers=disposition)


def answer(
    content: bytes, *, scratch: Path, media_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return an answer. A large one waits for its client in a file in `scratch`, not in memory.

    Call it in a thread unless the content is small.
    """
    if len(content) > MAX_BYTES_IN_MEMORY:
        with suppress(OSError):  # a full disk is no reason to refuse an answer
            scratch.mkdir(parents=True, exist_ok=True)
            file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115
            file.write(content)
            file.seek(0)
            return _from_file(file, media_type=media_type, headers=headers or {})
    return Response(content, media_type=media_type, headers=headers)


def _from_file(file: BinaryIO, *, media_type: str, headers: Mapping[str, str]) -> StreamingResponse:
    length = {"Content-Length": str(fstat(file.fileno()).st_size)}
    return _FileAnswer(file, media_type=media_type, headers={**headers, **length})


class _FileAnswer(StreamingResponse):
    """The content of an open file, which is closed however the answer ends."""

    def __init__(self, file: BinaryIO, *, media_type: str, headers: Mapping[str, str]) -> None:
        super().__init__(_chunks(file), media_type=media_type, headers=headers)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def preferred(accept: str | None, offers: Sequence[str]) -> str | None:
    """Return the offer that an Accept header prefers, the first of equals (RFC 9110, 12.5.1).

    None if no offer is acceptable.
    """
    ranges = [_range(entry) for entry in _split(accept or "", ",") if entry.strip()]
    if not ranges:
        return offers[0]
    ranked = [(*_rank(offer, ranges), offer) for offer in offers]
    quality, _, best = max(ranked, key=lambda rank: rank[:2])
    return best if quality > 0 else None


def _split(text: str, separator: str) -> list[str]:
    """Split at each separator that is in no quoted text."""
    return [part for part in re.findall(_PARTS[separator], text) if part != separator]


def _range(entry: str) -> tuple[str, float]:
    media_type, *parameters = (part.strip().lower() for part in _split(entry, ";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = min(1.0, max(0.0, float(value)))
            except ValueError:
                quality = 0.0
    return media_type, quality


def _rank(offer: str, ranges: Sequence[tuple[str, float]]) -> tuple[float, int]:
    """Return the quality that the most specific range gives the offer, and how specific it is."""
    family = offer.partition("/")[0]
    qualities = dict(ranges)
    for specificity, media_type in ((2, offer), (1, f"{family}/*"), (0, "*/*")):
        if media_type in qualities:
            return qualities[media_type], specificity
    return 0.0, 0
