"""The messages between a supervisor and its trainer over their pipe. Does not import torch.

The supervisor sends an `Order`; the trainer sends the messages. A closed pipe means that the other
process is dead.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dropout_core.data.reading import Reading
from store.artifacts.artifact_store import JOBS, ArtifactStore
from store.models import TrainedModel

Order = Literal["checkpoint_and_stop", "finish_now"]
Step = Literal["reading", "encoding", "scaling", "training", "refitting", "evaluating"]
TimedStep = Literal["read data", "train", "refit", "checkpoint", "evaluate", "save"]


@dataclass(frozen=True)
class Assignment:
    """All that a trainer needs for one attempt: it reads neither settings nor database."""

    job_id: str
    attempt: int
    spec: dict[str, Any]
    dataset_artifact: str
    dataset_reading: Reading
    artifacts: ArtifactStore
    scratch: Path
    num_threads: int
    checkpoint_seconds: float

    @property
    def prefix(self) -> str:
        """Return the prefix of this attempt's artifacts; no other attempt uses it."""
        return f"{job_prefix(self.job_id)}/{self.attempt}"


def job_prefix(job_id: str) -> str:
    """Return the prefix of the artifacts of all attempts of a job."""
    return f"{JOBS}/{job_id}"


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


Message = Began | Warned | EpochCompleted | Progressed | Finished | Failed | Stopped
