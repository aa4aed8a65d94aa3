"""Files as they come in: received aside, hashed on the way, and gone when they were used."""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fastapi import UploadFile

_CHUNK_BYTES = 1024**2


class Upload:
    """The files of a request in a folder of their own in `parent`, which goes when the block ends.

    `sha256` is that of all of them, one after the other. Raises OSError, and leaves nothing.
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
