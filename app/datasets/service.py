"""An upload becomes a dataset, whole or not at all."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from app.deps import Context
from app.errors import invalid
from dropout_core.data.errors import DataError
from dropout_core.data.readers import detect_format, read
from dropout_core.data.schema import describe
from store.datasets import Dataset
from store.ids import new_id

_CHUNK_BYTES = 1024**2


class Upload:
    """A file received into a folder of its own, hashed on the way; gone when the block ends."""

    def __init__(self, context: Context, source: BinaryIO) -> None:
        self._context = context
        context.uploads.mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(dir=context.uploads)
        self._path = Path(self._folder.name) / "received"
        digest = hashlib.sha256()
        with self._path.open("wb") as target:
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
                target.write(chunk)
        self.sha256 = digest.hexdigest()

    def __enter__(self) -> "Upload":
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    @contextmanager
    def in_place(self) -> Iterator[dict[str, Any]]:
        """Put the table in place for a block that inserts its row, with the facts of that row.

        The table is deleted if the block fails. Raises RequestError (422) if the file is unusable.
        """
        try:
            frame = read(self._path, max_bytes=self._context.settings.max_upload_bytes)
        except DataError as error:
            raise invalid("/file", str(error)) from error
        dataset_id = new_id("ds")
        artifact = f"datasets/{dataset_id}.parquet"
        table = self._path.with_name("table")
        frame.write_parquet(table)
        facts = {
            "id": dataset_id,
            "format": detect_format(self._path),
            "size_bytes": self._path.stat().st_size,
            "sha256": self.sha256,
            "num_rows": len(frame),
            "columns": [column.model_dump() for column in describe(frame)],
            "artifact": artifact,
        }
        try:
            self._context.artifacts.put(artifact, table)
            yield facts
        except BaseException:
            self._context.artifacts.delete(artifact)
            raise


def load(context: Context, dataset: Dataset) -> pl.DataFrame:
    """The table of a dataset."""
    return pl.read_parquet(context.artifacts.fetch(dataset.artifact))
