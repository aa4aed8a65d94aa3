"""What the endpoints of events answer: a page, or the live stream."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request, Response
from sqlalchemy import Connection

from app.context import MAX_NUMBER, Context, Limit, Number
from app.events.schemas import EventPage
from app.events.stream import EVENT_STREAM, EventStream
from app.http.answers import preferred
from app.http.bodies import JSON
from app.http.errors import RequestError, problem_responses
from app.http.security import Caller
from app.monitoring.watched_events import Source, Subject

RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {EVENT_STREAM: {}}, "description": "A page, or the live stream."},
    204: {"description": "A stream that has ended has nothing after `Last-Event-ID`."},
    **problem_responses(404),
}


@dataclass(frozen=True)
class EventsAsked:
    """Which events a request asks for, and in which form."""

    limit: int
    after: int
    last_event_id: str | None
    wants_stream: bool


async def _asked(
    request: Request,
    limit: Limit = 100,
    after: Annotated[Number, Query(description="The `last_id` of the previous page.")] = 0,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> EventsAsked:
    accept = ",".join(request.headers.getlist("accept"))
    wants_stream = preferred(accept, [JSON, EVENT_STREAM]) == EVENT_STREAM
    return EventsAsked(limit, after, last_event_id, wants_stream)


EventsAskedDep = Annotated[EventsAsked, Depends(_asked)]


def answer_of(
    transaction: Connection,
    context: Context,
    subject: Subject,
    *,
    source: Source,
    asked: EventsAsked,
    caller: Caller,
) -> EventPage | Response:
    """Return the events of a job or a sweep that was just read, as they are asked for.

    Raises RequestError (422) for a stream that cannot resume where it is asked to.
    """
    if asked.wants_stream:
        given = asked.last_event_id
        seen = asked.after if given is None else last_event_of(given)
        return _stream(context, subject, source=source, caller=caller, after=seen)
    found = source.page(transaction, subject.id, after=asked.after, limit=asked.limit + 1)
    return EventPage.of(found, limit=asked.limit)


def _stream(
    context: Context, subject: Subject, *, source: Source, caller: Caller, after: int
) -> Response:
    if after >= subject.num_events and subject.state in source.terminal:
        return Response(status_code=204)
    if after > subject.num_events:
        raise RequestError(
            422,
            "invalid_request",
            f"the stream cannot resume after event {after}: there are {subject.num_events} so far",
        )
    return EventStream(context, subject, caller=caller, after=after)


def last_event_of(last_event_id: str) -> int:
    """Return the id in a Last-Event-ID header. Raises RequestError (422) if it is no id."""
    is_number = last_event_id.isascii() and last_event_id.isdecimal()
    if not is_number or len(last_event_id) > len(str(MAX_NUMBER)):
        raise RequestError(
            422, "invalid_request", "Last-Event-ID has to be the id of one of the events here"
        )
    return min(int(last_event_id), MAX_NUMBER)
