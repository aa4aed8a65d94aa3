"""Pages of a tenant's rows: filtered, and in the order of their creation."""

from typing import Any, NotRequired, TypedDict, Unpack

from sqlalchemy import Select, Table, select

from store import ids

_PREFIXES = {"datasets": "ds", "jobs": "job", "models": "mdl", "sweeps": "swp"}
# The clocks that ids and `created_at` come from may differ by this.
_CLOCK_SECONDS = 24 * 3600


class Part(TypedDict):
    """A part of a list: up to `limit` rows beyond the id `after`, of all or of those filtered.

    `created_from` is in Unix seconds. The row `after` may be deleted.
    """

    limit: int
    after: str | None
    name: NotRequired[str | None]
    created_from: NotRequired[float | None]
    oldest_first: NotRequired[bool]


def listed(table: Table, *, tenant: str, **part: Unpack[Part]) -> Select[Any]:
    """Select a part of the tenant's rows, newest first by default; ids sort by creation.

    An index serves each filter and the order; see the tables.
    """
    id_ = table.c.id
    after, name, created_from = part["after"], part.get("name"), part.get("created_from")
    oldest_first = part.get("oldest_first", False)
    query = select(table).where(table.c.tenant == tenant)
    if after is not None:
        query = query.where(id_ > after if oldest_first else id_ < after)
    if name is not None:
        query = query.where(table.c.name == name)
    if created_from is not None:
        # The ids alone end the search: no index has both the time and the order.
        first = ids.earliest(_PREFIXES[table.name], created_from - _CLOCK_SECONDS)
        query = query.where(table.c.created_at >= created_from, id_ >= first)
    return query.order_by(id_ if oldest_first else id_.desc()).limit(part["limit"])
