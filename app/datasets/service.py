"""Make a dataset of an upload, completely or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from app.context import Context
from app.http.uploads import Upload, refusing_unusable, upload_limits
from dropout_core.data.ingest import ingest
from dropout_core.data.read_options import ReadOptions
from dropout_core.files import sha256_of
from store.artifacts.artifact_store import DATASETS, discard
from store.database.engine import is_full, is_unavailable
from store.ids import new_id


@contextmanager
def stored_table(
    context: Context, upload: Upload, options: ReadOptions, *, tenant: str
) -> Iterator[dict[str, Any]]:
    """Store the table for a block that inserts its row, and yield the fields of that row.

    The table is deleted if the block fails, unless its row may have been committed. Raises
    RequestError (422) if the files are unusable.
    """
    path = upload.folder / "table"
    with refusing_unusable():
        table = ingest(
            upload.paths,
            path,
            options=options,
            limits=upload_limits(context.settings),
            owner=tenant,
        )
    dataset_id = new_id("ds")
    artifact = f"{DATASETS}/{dataset_id}.{sha256_of(path)}.parquet"
    fields = {
        "id": dataset_id,
        "format": table.format,
        "size_bytes": upload.size_bytes,
        "sha256": upload.sha256,
        "num_rows": table.num_rows,
        "columns": [column.model_dump(mode="json") for column in table.columns],
        "options": table.options,
        "warnings": table.warnings,
        "artifact": artifact,
    }
    try:
        context.artifacts.put(artifact, path)
        yield fields
    except BaseException as error:
        # An unavailable database may have committed: a table without a row is swept later.
        if not (isinstance(error, SQLAlchemyError) and is_unavailable(error)) or is_full(error):
            discard(context.artifacts, artifact)
        raise
