"""A sweep's events in order, numbered from 1."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from store.database.tables import database_now, sweep_events


@dataclass(frozen=True)
class SweepEvent:
    """A row. `type` is the state that the sweep entered, `trials`, `rung`, `exhausted` or `winner`.

    - `trials`: those from `first` to `last` were created.
    - `rung`: it is full, and `promoted` go on.
    - `exhausted`: the best so far is taken.
    - `winner`: `trials` won.
    """

    sweep_id: str
    sequence: int
    type: str
    data: dict[str, Any]
    created_at: float


def append(
    connection: Connection, sweep_id: str, numbered: Sequence[tuple[int, str, dict[str, Any]]]
) -> None:
    """Insert events: numbers that come from the update of the sweep's row, types and data."""
    if numbered:
        rows = [
            {"sweep_id": sweep_id, "sequence": number, "type": type_, "data": data}
            for number, type_, data in numbered
        ]
        connection.execute(insert(sweep_events).values(created_at=database_now()), rows)


def page(connection: Connection, sweep_id: str, *, after: int, limit: int) -> list[SweepEvent]:
    """Return up to `limit` events numbered above `after`, oldest first."""
    query = (
        select(sweep_events)
        .where(sweep_events.c.sweep_id == sweep_id, sweep_events.c.sequence > after)
        .order_by(sweep_events.c.sequence)
        .limit(limit)
    )
    return [SweepEvent(**row) for row in connection.execute(query).mappings()]


def told_rungs(connection: Connection, sweep_id: str) -> set[tuple[int, int]]:
    """Return the bracket and the number of each rung that an event tells of."""
    theirs = (sweep_events.c.sweep_id == sweep_id) & (sweep_events.c.type == "rung")
    rows = connection.execute(select(sweep_events.c.data).where(theirs)).scalars()
    return {(data["bracket"], data["rung"]) for data in rows}
