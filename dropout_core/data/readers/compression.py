"""gzip around a file: unpacked to disk, and never more of it than allowed."""

import gzip
import zlib
from pathlib import Path

from dropout_core.errors import DataError

_SIGNATURE = b"\x1f\x8b"
_CHUNK_BYTES = 1 << 20


def is_compressed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SIGNATURE)) == _SIGNATURE


def unpacked(path: Path, folder: Path, *, max_bytes: int) -> Path:
    """The file itself or, if it is a gzip file, its content as a new file in the folder.

    Raises DataError if that is damaged, or is more than `max_bytes`.
    """
    if not is_compressed(path):
        return path
    target = folder / f"unpacked-{path.name}"
    size_bytes = 0
    try:
        with gzip.open(path) as source, target.open("xb") as file:
            while chunk := source.read(_CHUNK_BYTES):
                size_bytes += len(chunk)
                if size_bytes > max_bytes:
                    raise DataError(f"the file unpacks to more than the {max_bytes} bytes allowed")
                file.write(chunk)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"not a readable gzip file: {error}") from error
    if is_compressed(target):
        raise DataError("the file is a gzip file in a gzip file")
    return target
