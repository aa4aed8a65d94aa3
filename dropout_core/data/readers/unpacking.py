"""Unpack gzip files and zip archives of one file, once and within bounds."""

import gzip
import zipfile
import zlib
from pathlib import Path
from typing import IO

from dropout_core.errors import DataError

_GZIP_SIGNATURE = b"\x1f\x8b"
_ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")  # with members, and without any
_CHUNK_BYTES = 1 << 20
_WORKBOOK = "xl/workbook.xml"
_ARRAY = ".npy"
_HIDDEN = ("__MACOSX/", ".DS_Store")  # which macOS adds to archives


def unpacked(source: Path, target: Path, *, max_bytes: int) -> Path:
    """Return the file itself or, if it is compressed, `target` with its content.

    Raises DataError if either is empty, or the content is damaged, more than `max_bytes`, or
    compressed again.
    """
    if source.stat().st_size == 0:
        raise DataError("the file is empty")
    if _signature(source).startswith(_GZIP_SIGNATURE):
        try:
            with gzip.open(source) as content:
                _copy(content, target, max_bytes=max_bytes)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"not a readable gzip file: {error}") from error
    elif is_zip(source) and zip_format(source) == "file":
        try:
            with zipfile.ZipFile(source) as archive:
                [member] = _files(archive)
                with archive.open(member) as content:
                    _copy(content, target, max_bytes=max_bytes)
        except (DataError, MemoryError):
            raise
        except Exception as error:  # zipfile and its decompressors each raise their own
            raise DataError(f"not a readable zip file: {error}") from error
    else:
        return source
    is_gzip = _signature(target).startswith(_GZIP_SIGNATURE)
    if is_gzip or (is_zip(target) and zip_format(target) == "file"):
        raise DataError("the file is compressed twice: unpack it once")
    return target


def is_zip(path: Path) -> bool:
    return _signature(path) in _ZIP_SIGNATURES


def zip_format(path: Path) -> str:
    """Return `npz` or `xlsx`, or `file` for an archive of one file. Raises DataError for another.

    An archive that cannot be listed is `npz`, whose reader tells what is wrong.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            files = _files(archive)
    except Exception:  # zipfile raises many
        return "npz"
    names = [file.filename for file in files]
    if _WORKBOOK in names:
        return "xlsx"
    if not names or any(name.endswith(_ARRAY) for name in names):
        return "npz"
    if len(names) == 1:
        return "file"
    shown = ", ".join(repr(name[:100]) for name in names[:3])
    raise DataError(
        f"the archive holds {len(names)} files, such as {shown}: upload the one that is the table"
    )


def _files(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    return [
        member
        for member in archive.infolist()
        if not member.is_dir()
        and not member.filename.startswith(_HIDDEN[0])
        and Path(member.filename).name != _HIDDEN[1]
    ]


def _signature(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _copy(content: IO[bytes] | gzip.GzipFile, target: Path, *, max_bytes: int) -> None:
    size_bytes = 0
    with target.open("xb") as file:
        while chunk := content.read(_CHUNK_BYTES):
            size_bytes += len(chunk)
            if size_bytes > max_bytes:
                raise DataError(f"the file unpacks to more than the {max_bytes} bytes allowed")
            file.write(chunk)
    if size_bytes == 0:
        raise DataError("the file is empty")
