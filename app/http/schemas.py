"""What the answers of several domains are made of."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, PlainSerializer

Item = TypeVar("Item", bound=BaseModel)


def _from_seconds(value: float | datetime | None) -> datetime | None:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else value


def _rfc3339(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# Unix seconds in the store, RFC 3339 UTC on the wire.
Time = Annotated[datetime, BeforeValidator(_from_seconds), PlainSerializer(_rfc3339)]


class Page(BaseModel, Generic[Item]):
    """A part of a list; `?after=last_id` is the next part."""

    data: list[Item]
    has_more: bool
    last_id: str | None


def page_of(items: Sequence[Item], ids: Sequence[str], limit: int) -> Page[Item]:
    """A page of up to `limit`, from one item more than that where there is one."""
    kept = list(items[:limit])
    return Page(
        data=kept, has_more=len(items) > limit, last_id=ids[len(kept) - 1] if kept else None
    )
