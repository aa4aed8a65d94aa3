"""Files to take away."""

from collections.abc import Iterator
from os import fstat
from pathlib import Path
from typing import BinaryIO

from fastapi.responses import StreamingResponse

_CHUNK_BYTES = 1024**2


def download(path: Path, *, filename: str, media_type: str) -> StreamingResponse:
    """Answer with a file, which may be deleted as soon as this returns.

    `filename` is ASCII without quotes. Raises OSError.
    """
    file = path.open("rb")  # an open file outlives its name
    return StreamingResponse(
        _chunks(file),
        media_type=media_type,
        headers={
            "Content-Length": str(fstat(file.fileno()).st_size),
            "Content-Disposition": f'attachment; filename="{filename}"',
        },
    )


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
