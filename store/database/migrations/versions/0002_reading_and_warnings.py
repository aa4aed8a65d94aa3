"""Add the reading options of a dataset, warnings of datasets and jobs, and all column types"""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_STORED_AS = {"numeric": "number", "boolean": "boolean", "categorical": "text"}

_PREPROCESSING = {
    "scale": "standard",
    "impute": "median",
    "max_one_hot": 16,
    "max_categories": 10_000,
    "embedding_dim": None,
    "embedding_dropout": 0.0,
    "unknown_rate": 0.01,
    "text_buckets": 128,
}


def upgrade() -> None:
    for table, column, default in (
        ("datasets", "options", "'{}'"),
        ("datasets", "warnings", "'[]'"),
        ("jobs", "warnings", "'[]'"),
    ):
        op.add_column(
            table, sa.Column(column, sa.JSON, nullable=False, server_default=sa.text(default))
        )
    _rewrite("datasets", "columns", lambda columns: [_with_storage(c) for c in columns])
    _rewrite("models", "manifest", _with_encoder)


def _rewrite(table_name: str, column_name: str, change: Callable[[Any], Any]) -> None:
    """Change the values of a JSON column, row by row."""
    table = sa.table(table_name, sa.column("id", sa.String), sa.column(column_name, sa.JSON))
    connection = op.get_bind()
    for row in connection.execute(sa.select(table)).all():
        query = sa.update(table).where(table.c.id == row.id)
        connection.execute(query.values({column_name: change(row[1])}))


def _with_storage(column: dict[str, Any]) -> dict[str, Any]:
    """Add `stored_as`, which the column's type implied so far."""
    stored_as = _STORED_AS.get(column.get("type", ""))
    return column if stored_as is None else {**column, "stored_as": stored_as}


def _with_encoder(manifest: dict[str, Any]) -> dict[str, Any]:
    """Add the encoder of an old model, which has one target and numbers that are never missing."""
    if "features" not in manifest:
        return manifest
    features = [
        {"type": "numeric", "name": name, "may_be_missing": False} for name in manifest["features"]
    ]
    rest = {name: value for name, value in manifest.items() if name not in ("features", "target")}
    return rest | {
        "targets": [manifest["target"]],
        "preprocessing": _PREPROCESSING,
        "encoder": {"features": features},
    }
