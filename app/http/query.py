"""Query parameters: the names that each route declares, once each, and no others.

A name that were ignored would change what is asked: `?dry_run=true` would run a job, and a
misspelt filter would answer everything.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from urllib.parse import parse_qsl

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from app.http.errors import Flaw, problem
from app.http.routes import FastRoute, found_route

MAX_NAME_CHARACTERS = 100  # of a name in an answer
_MAX_FLAWS = 10


class KnownQuery:
    """Refuse (422) a query parameter that the route has not declared, or that is given twice."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["query_string"]:
            known = declared(found_route(scope))
            flaws = [] if known is None else _flaws(scope["query_string"], known)
            if flaws:
                detail = "; ".join(f"{flaw.pointer}: {flaw.detail}" for flaw in flaws[:3])
                refusal = problem(422, "invalid_request", detail, flaws)
                return await refusal(scope, receive, send)
        return await self._app(scope, receive, send)


def declared(route: BaseRoute | None) -> list[str] | None:
    """Return the names of the route's query parameters; None for a page, which takes any.

    A query of a page changes nothing: it is a version of a file, or a campaign's mark on a link.
    """
    if isinstance(route, FastRoute):
        return []
    if isinstance(route, APIRoute) and route.include_in_schema:
        return sorted(_names(route.dependant))
    return None


def _names(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for dependency in dependant.dependencies:
        yield from _names(dependency)


def _flaws(query: bytes, known: list[str]) -> list[Flaw]:
    given = [name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)]
    flaws = []
    for name in dict.fromkeys(given):
        if name not in known:
            detail = _unknown(name[:MAX_NAME_CHARACTERS], known)
        elif given.count(name) > 1:
            detail = "this query parameter may be given once"
        else:
            continue
        flaws.append(Flaw(pointer=name[:MAX_NAME_CHARACTERS], detail=detail))
        if len(flaws) == _MAX_FLAWS:
            break
    return flaws


def _unknown(name: str, known: list[str]) -> str:
    if not known:
        return "there is no such query parameter; this call has none"
    if near := get_close_matches(name.lower(), known, n=1):
        return f"there is no such query parameter; do you mean {near[0]}?"
    return f"there is no such query parameter; this call has {', '.join(known)}"
