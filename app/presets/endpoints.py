"""`/v1/presets`: what a job is made of where it leaves things open."""

from typing import Annotated

from fastapi import Depends, Query

from app.context import MAX_NUMBER
from app.http.errors import Flaw, RequestError, problem_responses
from app.http.routes import demands
from app.http.security import keyed_router
from app.presets.schemas import PresetAnswer, PresetList, PresetName, TableSize
from dropout_core.config import PRESETS, Goal, Task
from dropout_core.config.presets import check_goal
from store.access.keys import Scope

router = keyed_router("/v1/presets", "presets")


async def _table(
    task: Annotated[Task, Query(description="The task that the values are for.")] = "multiclass",
    rows: Annotated[int, Query(ge=1, le=MAX_NUMBER, description="The rows to train on.")] = 10_000,
    columns: Annotated[int, Query(ge=1, le=MAX_NUMBER, description="The features.")] = 30,
    optimise_for: Annotated[
        Goal | None, Query(description="As in a job: what the model is for.")
    ] = None,
) -> TableSize:
    if optimise_for is not None:
        try:
            check_goal(optimise_for, task)
        except ValueError as error:
            flaw = Flaw(pointer="optimise_for", detail=str(error))
            detail = f"optimise_for: {error}"
            raise RequestError(422, "invalid_request", detail, [flaw]) from error
    return TableSize(task=task, rows=rows, columns=columns, optimise_for=optimise_for)


Table = Annotated[TableSize, Depends(_table)]


@router.get("")
@demands(Scope.READ)
async def list_presets(table: Table) -> PresetList:
    """All presets, with their values for a table of this task and size, and the rule."""
    return PresetList(data=[PresetAnswer.of(name, table) for name in PRESETS])


@router.get("/{preset}", responses=problem_responses(404))
@demands(Scope.READ)
async def get_preset(preset: PresetName, table: Table) -> PresetAnswer:
    """A preset, with its values for a table of this task and size."""
    for name in PRESETS:
        if name == preset:
            return PresetAnswer.of(name, table)
    known = ", ".join(PRESETS)
    raise RequestError(404, "preset_not_found", f"there is no preset {preset!r}: there are {known}")
