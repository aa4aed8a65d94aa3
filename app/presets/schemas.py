"""Presets on the wire."""

from typing import Annotated, Any, Self

from fastapi import Path
from pydantic import BaseModel

from dropout_core.config import PRESETS, Goal, Preset, Task, settled
from dropout_core.config.presets import GOALS_OF, SUMMARIES

RULE = (
    "A job that names no preset gets `default` if it gives nothing of `preprocessing` and `model`, "
    "and of `training` at most `seed`, `device` and `max_runtime_seconds`; any other job gets "
    "`plain`. What a job gives stands in place of the preset's value. An object, such as "
    "`optimizer`, is merged with the preset's if both have the same `name` or `kind`, and replaces "
    "it otherwise."
)

PresetName = Annotated[str, Path(json_schema_extra={"enum": list(PRESETS)})]


class TableSize(BaseModel):
    """The table that values are for: its task, the rows to train on and the features."""

    task: Task
    rows: int
    columns: int
    optimise_for: Goal | None


class PresetAnswer(BaseModel):
    """A preset: every value of `preprocessing`, `model` and `training` for such a table.

    `job` is the body of a job that asks for it: name its dataset and target. The limits of the
    service may lower some values; the job's warnings then tell.
    """

    name: Preset
    summary: str
    table: TableSize
    preprocessing: dict[str, Any]
    model: dict[str, Any]
    training: dict[str, Any]
    job: dict[str, Any]

    @classmethod
    def of(cls, name: Preset, table: TableSize) -> Self:
        """Return the preset. Raises ValueError if the task does not have the goal."""
        recipe = settled(
            name,
            task=table.task,
            num_rows=table.rows,
            num_columns=table.columns,
            optimise_for=table.optimise_for,
        )
        job: dict[str, Any] = {"dataset": {"id": "ds_...", "target": "..."}, "preset": name}
        if table.optimise_for is not None:
            job["optimise_for"] = table.optimise_for
        sections = {section: value.every_value() for section, value in recipe._asdict().items()}
        return cls(name=name, summary=SUMMARIES[name], table=table, job=job, **sections)


class PresetList(BaseModel):
    """All presets, the rule by which a job gets one, and what a model can be optimised for."""

    rule: str = RULE
    goals: dict[Task, tuple[Goal, ...]] = GOALS_OF
    data: list[PresetAnswer]
