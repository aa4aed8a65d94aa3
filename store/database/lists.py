"""Pages of a tenant's rows: filtered, and in the order of their creation."""

from typing import Any, TypedDict

from sqlalchemy import Select, Table, select

from store import ids

_PREFIXES = {"datasets": "ds", "jobs": "job", "models": "mdl"}
# The clocks that ids and `created_at` come from may differ by this.
_CLOCK_SECONDS = 24 * 3600


class Filters(TypedDict, total=False):
    """What every list can be filtered by; `created_from` is in Unix seconds."""

    name: str | None
    created_from: float | None
    oldest_first: bool


def listed(
    table: Table,
    *,
    tenant: str,
    limit: int,
    after: str | None,
    name: str | None = None,
    created_from: float | None = None,
    oldest_first: bool = False,
) -> Select[Any]:
    """Select up to `limit` of the tenant's rows beyond the id `after`; ids sort by creation.

    An index serves each filter and the order; see the tables. The row `after` may be deleted.
    """
    id_ = table.c.id
    query = select(table).where(table.c.tenant == tenant)
    if after is not None:
        query = query.where(id_ > after if oldest_first else id_ < after)
    if name is not None:
        query = query.where(table.c.name == name)
    if created_from is not None:
        # The ids alone end the search: no index has both the time and the order.
        first = ids.earliest(_PREFIXES[table.name], created_from - _CLOCK_SECONDS)
        query = query.where(table.c.created_at >= created_from, id_ >= first)
    return query.order_by(id_ if oldest_first else id_.desc()).limit(limit)
