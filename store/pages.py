"""Cursor lists: ids sort by creation, so an id is a place in the list."""

from typing import Any

from sqlalchemy import ColumnElement, Select


def newest_first(
    query: Select[Any], id_column: ColumnElement[str], *, limit: int, after: str | None
) -> Select[Any]:
    """Order by id, newest first, beginning after the one given."""
    if after is not None:
        query = query.where(id_column < after)
    return query.order_by(id_column.desc()).limit(limit)
