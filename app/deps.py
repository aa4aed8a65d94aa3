"""What endpoints ask for."""

from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Query, Request

from app.errors import RequestError
from app.inference.predictors import Predictors
from store.artifacts import LocalArtifacts
from store.database import Database
from store.settings import Settings


@dataclass(frozen=True)
class Context:
    """What one process of the API holds, made once by create_app."""

    settings: Settings
    database: Database
    artifacts: LocalArtifacts
    predictors: Predictors

    @property
    def uploads(self) -> Path:
        return self.settings.data_dir / "uploads"


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


def _require_media_type(request: Request, wanted: str) -> None:
    header = Message()
    header["content-type"] = request.headers.get("content-type", "")
    given = header.get_content_type() if header["content-type"] else "nothing"
    if given != wanted:
        raise RequestError(
            415, "unsupported_media_type", f"the body has to be {wanted}, and {given} was declared"
        )


def require_json(request: Request) -> None:
    """Raise 415 unless the body is declared as JSON."""
    _require_media_type(request, "application/json")


def require_form(request: Request) -> None:
    """Raise 415 unless the body is declared as a multipart form."""
    _require_media_type(request, "multipart/form-data")


ContextDep = Annotated[Context, Depends(_context)]
Limit = Annotated[int, Query(ge=1, le=100, description="Items of a page.")]
After = Annotated[str | None, Query(description="The `last_id` of the page before.")]
