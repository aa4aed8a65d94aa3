"""The messages between a supervisor and its trainer over their pipe. Does not import torch.

A trainer begins with the assignments that it is started with. The supervisor sends `Ordered`, and
more assignments once the trainer waits for them; the trainer sends messages, each as (id of the
job, message). A closed pipe means that the other process is dead.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dropout_core.data.reading import Reading
from store.artifacts.artifact_store import JOBS, ArtifactStore
from store.models import TrainedModel

# `finish_now` saves the model as it is, `reach_now` scores it as if the training were over, and
# `drop` leaves the job to others.
Order = Literal["checkpoint_and_stop", "finish_now", "reach_now", "drop"]
Step = Literal["reading", "encoding", "scaling", "training", "refitting", "evaluating"]
TimedStep = Literal["read data", "train", "refit", "checkpoint", "evaluate", "save"]


@dataclass(frozen=True)
class Assignment:
    """All that a trainer needs for one attempt: it reads neither settings nor database.

    A trial is scored by `metrics` once it has `pause_after` epochs, or once its training is over.
    The networks of a stack take at most `stack_bytes` together, as far as one can tell.
    """

    job_id: str
    attempt: int
    spec: dict[str, Any]
    dataset_artifact: str
    dataset_reading: Reading
    artifacts: ArtifactStore
    scratch: Path
    num_threads: int
    checkpoint_seconds: float
    pause_after: int | None = None
    metrics: tuple[str, ...] = ()
    stack_bytes: int = 2**62

    @property
    def is_stacked(self) -> bool:
        """Return whether this is a trial that trains as a member of a stack, be it the only one."""
        return self.pause_after is not None and bool(self.spec["training"].get("stacked"))

    @property
    def prefix(self) -> str:
        """Return the prefix of this attempt's artifacts; no other attempt uses it."""
        return f"{job_prefix(self.job_id)}/{self.attempt}"


def job_prefix(job_id: str) -> str:
    """Return the prefix of the artifacts of all attempts of a job."""
    return f"{JOBS}/{job_id}"


@dataclass(frozen=True)
class Ordered:
    order: Order
    job_ids: frozenset[str]


@dataclass(frozen=True)
class Began:
    """The trainer began a step; a long one would else look as if nothing happened."""

    step: Step


@dataclass(frozen=True)
class Warned:
    """What the trainer found in the rows that the job's owner should know."""

    warnings: tuple[str, ...]


@dataclass(frozen=True)
class EpochCompleted:
    metrics: dict[str, Any]  # an EpochMetrics; a resumed trainer sends its earlier epochs again


@dataclass(frozen=True)
class Progressed:
    """A fold's scores or a part of a refit are stored: progress, though no epoch is recorded."""


@dataclass(frozen=True)
class Finished:
    reason: Literal["completed", "early_stopped", "max_runtime_exceeded"]
    trained: TrainedModel


@dataclass(frozen=True)
class Reached:
    """A trial has as many epochs as it was to have, or its training is over; it has a checkpoint.

    `values` are its metrics, in the order of the assignment; None if one of them is undefined, as
    `detail` says.
    """

    epochs: int
    values: tuple[float, ...] | None
    is_finished: bool
    detail: str | None = None


@dataclass(frozen=True)
class Failed:
    """The attempt failed; `retryable` says that another attempt can succeed."""

    reason: str
    detail: str
    retryable: bool = False


@dataclass(frozen=True)
class Stopped:
    """The trainer stopped as ordered; another one resumes from its checkpoint."""


@dataclass(frozen=True)
class Timed:
    """The duration of a finished step, for metrics and traces; it does not change the job."""

    step: TimedStep
    started_at: float  # Unix seconds, by the trainer's clock
    seconds: float


Message = Began | Warned | EpochCompleted | Progressed | Finished | Reached | Failed | Stopped
