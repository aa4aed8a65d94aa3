"""Cursor lists: ids sort by creation, so an id is a place in the list."""

from typing import Any

from sqlalchemy import Select, Table, select


def newest_first(table: Table, *, tenant: str, limit: int, after: str | None) -> Select[Any]:
    """A tenant's rows by id, newest first, beginning after the one given."""
    query = select(table).where(table.c.tenant == tenant)
    if after is not None:
        query = query.where(table.c.id < after)
    return query.order_by(table.c.id.desc()).limit(limit)
