"""A sweep on the wire. The body of a submission is `store.sweep_spec.SweepSpec`."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from app.http.answers import Time
from dropout_core.config import Config
from store.sweeps import Progress, Sweep

State = Literal["running", "paused", "succeeded", "failed", "cancelled"]
JobState = Literal["queued", "running", "paused", "cancelling", "succeeded", "failed", "cancelled"]
TrialState = Literal[JobState, "pruned", "not_chosen"]

EXAMPLE = {
    "name": "flats",
    "job": {
        "dataset": {"id": "ds_01m7yfj0caymhw2pfr3q540p4y", "target": "label"},
        "training": {"epochs": 27},
    },
    "space": {
        "/model/hidden_dropout": {"uniform": [0.0, 0.6]},
        "/training/optimizer/lr": {"log_uniform": [0.0001, 0.1]},
        "/model/hidden": {"choice": [[64], [128, 128]]},
    },
    "pruner": {"name": "successive_halving", "reduction": 3},
    "budget": {"trials": 27},
}


class CancelRequest(Config):
    """Whether the sweep ends with the best of the results so far."""

    keep_model: bool = False


class SweepProgress(BaseModel):
    """The trials so far in each state, the most that there can be, and the epochs of all jobs.

    `epochs` are those that the sweep trains if no trial fails or stops early, up to the choice of
    the winner.
    """

    trials: dict[TrialState, int]
    max_trials: int
    epochs_completed: int
    epochs: int


class Score(BaseModel):
    """The mean of an objective over a trial's repeats, and its standard deviation for several."""

    mean: float
    deviation: float | None


class TrialJob(BaseModel):
    """The job of one repeat of a trial; `scores` are the last ones that it has, by objective."""

    id: str
    repeat: int
    state: JobState
    state_reason: str | None
    detail: str | None
    epochs_completed: int
    scores: dict[str, float] | None


class TrialRung(BaseModel):
    """What a trial had after so many epochs: means over its repeats, null if one has failed."""

    number: int
    epochs: int
    scores: dict[str, float] | None


class TrialAnswer(BaseModel):
    """A trial: the values of its parameters by JSON pointer, and how it stands.

    - `state`: that of its jobs, or `pruned`, or `not_chosen` for a trial that was not pruned when
      another one won. A `paused` trial waits for the others of its rung.
    - `scores`: by objective, those of the last rung where all repeats have a result.
    - `trained`: `stacked` with other trials as one network, or `alone`. The bits of a stacked trial
      do not depend on its company.
    """

    number: int
    bracket: int
    values: dict[str, Any]
    state: TrialState
    detail: str | None = Field(description="Why a repeat failed.")
    epochs_completed: int = Field(description="By the repeat that has the fewest.")
    scores: dict[str, Score] | None
    rungs: list[TrialRung]
    trained: Literal["stacked", "alone"]
    model: str | None
    jobs: list[TrialJob]


class TrialPage(BaseModel):
    """Trials; `?after=last_id` is the next part. The order by score changes while a sweep runs."""

    data: list[TrialAnswer]
    has_more: bool
    last_id: int | None


class RungAnswer(BaseModel):
    """A rung: the trials that are compared after so many epochs, and those that go on.

    `promoted` is decided when all that `entered` have results: then the rung `is_full`.
    """

    bracket: int
    number: int
    epochs: int
    entered: list[int]
    promoted: list[int]
    is_full: bool


class SweepSummary(BaseModel):
    """A sweep as in a list.

    `model` is that of the winner, once it is trained; with two objectives, that of the first trial
    of the Pareto front.
    """

    id: str
    name: str | None
    state: State
    state_reason: str | None
    detail: str | None
    dataset: str
    task: str
    model: str | None
    progress: SweepProgress
    warnings: list[str]
    metadata: dict[str, str]
    created_at: Time
    finished_at: Time | None


class SweepAnswer(SweepSummary):
    """A sweep. `resolved_config` holds every setting in force and can be submitted as it is.

    - `winner`: the best trial, once it is decided; null with two objectives.
    - `pareto_front`: with two objectives, the trials that no other one is better than.
    - `importance`: the share that each parameter has in being among the best, by PED-ANOVA; null
      as long as too few trials have scores.
    """

    winner: TrialAnswer | None
    pareto_front: list[TrialAnswer] | None
    importance: dict[str, float] | None
    rungs: list[RungAnswer]
    resolved_config: dict[str, Any]


class PlannedRung(BaseModel):
    """A rung, and how many trials reach it if none fails."""

    bracket: int
    number: int
    epochs: int
    num_trials: int


class SweepValidation(BaseModel):
    """The sweep as it would run; nothing is stored.

    `estimated_seconds` comes from a few measured steps of the base job's network on random rows. It
    assumes that every trial costs what the base job does and trains to its rungs, with as many
    jobs at a time as a worker here runs (`concurrency`), or `max_parallel` of them; networks that
    can be trained in a stack are taken to be. It leaves out reading the data, folds, refits and
    calibration. It is null where the job needs a GPU.
    """

    num_trials: int
    num_jobs: int
    rungs: list[PlannedRung]
    epochs: int = Field(description="Of all jobs together.")
    estimated_seconds: float | None
    first_trials: list[dict[str, Any]] = Field(
        description="The values of the first ten trials; with `tpe`, of those that need no results."
    )
    num_parameters: int = Field(description="Of the base job's network.")
    estimated_bytes: int = Field(description="Memory of one training of the base job.")
    warnings: list[str]
    resolved_config: dict[str, Any]


def progress_answer(progress: Progress, *, max_trials: int, epochs: int) -> SweepProgress:
    return SweepProgress.model_validate(
        {**vars(progress), "max_trials": max_trials, "epochs": epochs}
    )


def summary_of(sweep: Sweep, *, progress: SweepProgress, model_id: str | None) -> dict[str, Any]:
    """Return the fields of a SweepSummary."""
    return {
        **vars(sweep),
        "dataset": sweep.dataset_id,
        "model": model_id,
        "progress": progress,
        "metadata": sweep.spec["metadata"],
    }
