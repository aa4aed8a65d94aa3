"""Events on the wire."""

from collections.abc import Sequence
from typing import Any, Self

from pydantic import BaseModel

from app.http.answers import Time
from app.monitoring.watched_events import Numbered


class EventAnswer(BaseModel):
    """Something that happened to a job or a sweep.

    Of a job, `type` is the state that it entered, `requeued`, `step` for a step that its trainer
    began, or `epoch` for an epoch that was recorded. Of a sweep it is the state that it entered,
    `trials` for trials that were added, `rung` for a rung that was decided, `exhausted` when the
    best so far is taken, or `winner`.
    """

    id: int
    type: str
    data: dict[str, Any]
    created_at: Time

    @classmethod
    def of(cls, event: Numbered) -> Self:
        return cls(id=event.sequence, type=event.type, data=event.data, created_at=event.created_at)


class EventPage(BaseModel):
    """Events, oldest first; `?after=last_id` is the next part.

    The events of epochs are deleted long after a job has ended, so its ids may have gaps.
    """

    data: list[EventAnswer]
    has_more: bool
    last_id: int | None

    @classmethod
    def of(cls, found: Sequence[Numbered], *, limit: int) -> Self:
        """Return a page of up to `limit` events. One event beyond the limit sets `has_more`."""
        page = [EventAnswer.of(event) for event in found[:limit]]
        last_id = page[-1].id if page else None
        return cls(data=page, has_more=len(found) > limit, last_id=last_id)
