"""A job on the wire. The body of a submission is `store.job_spec.JobSpec`."""

from typing import Any, Literal, Self

from pydantic import BaseModel

from app.http.answers import Time
from app.resolving.resolved_job import ResolvedJob
from app.sweeps.schemas import SweepValidation
from dropout_core.config import Config
from store.jobs import Job

State = Literal["queued", "running", "paused", "cancelling", "succeeded", "failed", "cancelled"]

EXAMPLE = {
    "name": "fashion-d2l",
    "dataset": {
        "id": "ds_01m7yfj0caymhw2pfr3q540p4y",
        "target": "label",
        "split": {"validation": 0.1, "test": 0.1, "seed": 0},
    },
    "model": {"hidden": [256, 256], "hidden_dropout": [{"p": 0.2}, {"p": 0.5}]},
    "training": {
        "epochs": 10,
        "batch_size": 256,
        "optimizer": {"name": "sgd", "lr": 0.1},
        "seed": 3,
    },
    "metadata": {"team": "vision"},
}


class Progress(BaseModel):
    """The number of epochs recorded, and the most that the job may train.

    While a job runs, `step` is `reading`, `encoding` or `scaling` its data, `training`,
    `refitting` or `evaluating`, and `tuning` while it waits for the sweep that it has started.
    """

    step: str | None
    epochs_completed: int
    epochs: int


class JobAnswer(BaseModel):
    """A job. `resolved_config` holds every setting in force and can be submitted as it is.

    `warnings` say what its owner should know of the data, such as which columns were left out.
    `sweep` is the sweep that the job belongs to: as the repeat of a trial, which the numbers
    `trial` and `repeat` name, or as the job whose `tune` has started the sweep.

    A `paused` job waits for its resumption, or as a trial for the decision of its sweep: the
    `state_reason` is `user`, `sweep` or `rung`.
    """

    id: str
    name: str | None
    state: State
    state_reason: str | None
    detail: str | None
    dataset: str
    model: str | None
    progress: Progress
    attempt: int
    sweep: str | None
    trial: int | None
    repeat: int | None
    resolved_config: dict[str, Any]
    warnings: list[str]
    metadata: dict[str, str]
    created_at: Time
    started_at: Time | None
    finished_at: Time | None

    @classmethod
    def of(cls, job: Job, model_id: str | None = None) -> Self:
        return cls(
            **vars(job),
            dataset=job.dataset_id,
            model=model_id,
            sweep=job.sweep_id,
            progress=Progress(
                step=job.step,
                epochs_completed=job.epochs_completed,
                epochs=job.spec["training"]["epochs"],
            ),
            resolved_config=job.resolved_config,
            metadata=job.spec["metadata"],
        )


class CancelRequest(Config):
    """Whether a job that runs keeps the model that it has so far."""

    keep_model: bool = False


class ValidationAnswer(BaseModel):
    """The job as it would run; nothing is stored. `tune` is the sweep of a job that has one."""

    resolved_config: dict[str, Any]
    warnings: list[str]
    num_parameters: int
    estimated_bytes: int
    tune: SweepValidation | None = None

    @classmethod
    def of(cls, resolved: ResolvedJob) -> Self:
        return cls(
            resolved_config=resolved.spec.every_value(),
            warnings=list(resolved.warnings),
            num_parameters=resolved.sizes.num_parameters,
            estimated_bytes=resolved.sizes.training_bytes,
        )


class MetricsAnswer(BaseModel):
    """The history of a job: one list for each column, all of the same length.

    `monitored` is what early stopping watches.
    """

    epoch: list[int]
    train_loss: list[float]
    validation_loss: list[float | None]
    validation_score: list[float | None]
    learning_rate: list[float]
    samples_per_second: list[float]
    monitored: list[float | None]
