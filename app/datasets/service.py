"""Make a dataset of an upload, completely or not at all; show its rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl
from sqlalchemy.exc import SQLAlchemyError

from app.context import Context
from app.datasets.schemas import RowsAnswer
from app.http.uploads import Upload, refusing_unusable, upload_limits
from app.serving.dataset_rows import scan
from dropout_core.data.columns import MAX_NAME_CHARACTERS, RFC_3339
from dropout_core.data.ingest import ingest
from dropout_core.data.read_options import ReadOptions
from dropout_core.files import sha256_of
from store.artifacts.artifact_store import DATASETS, discard
from store.database.engine import is_full, is_unavailable
from store.datasets import Dataset
from store.ids import new_id

_MAX_CELLS = 100_000  # of an answer


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


def rows_of(context: Context, dataset: Dataset, *, limit: int, offset: int) -> RowsAnswer:
    """Return rows as they were understood: fewer than `limit` of a wide table.

    Raises DatasetNotFound if the dataset was deleted meanwhile.
    """
    names = [column["name"] for column in dataset.columns]
    num_rows = min(limit, max(1, _MAX_CELLS // len(names)))
    table = scan(context.artifacts, dataset, columns=names).slice(offset, num_rows)
    text, dates = pl.col(pl.String), pl.col(pl.Datetime)
    long = text.str.len_chars() > MAX_NAME_CHARACTERS
    cut = text.str.head(MAX_NAME_CHARACTERS) + "..."
    cells = table.with_columns(pl.when(long).then(cut).otherwise(text).name.keep())
    rows = cells.with_columns(dates.dt.to_string(RFC_3339)).collect()
    return RowsAnswer(
        columns=rows.columns,
        rows=[list(row) for row in rows.iter_rows()],
        offset=offset,
        num_rows=dataset.num_rows,
        has_more=offset + len(rows) < dataset.num_rows,
    )
