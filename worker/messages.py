"""What a supervisor and its trainer say to each other over their pipe. Free of torch.

The supervisor sends an `Order`; the trainer sends the messages. Each takes the end of the pipe as
the other's death.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from store.artifacts.artifact_store import JOBS, ArtifactStore
from store.models import TrainedModel

Order = Literal["checkpoint_and_stop", "finish_now"]
Step = Literal["read data", "train", "checkpoint", "evaluate", "save"]


@dataclass(frozen=True)
class Assignment:
    """One attempt of one job, complete: a trainer reads neither settings nor database."""

    job_id: str
    attempt: int
    spec: dict[str, Any]
    dataset_artifact: str
    artifacts: ArtifactStore
    scratch: Path
    num_threads: int
    checkpoint_seconds: float

    @property
    def prefix(self) -> str:
        """Where this attempt alone puts its artifacts."""
        return f"{job_prefix(self.job_id)}/{self.attempt}"


def job_prefix(job_id: str) -> str:
    """Where all attempts of a job put theirs."""
    return f"{JOBS}/{job_id}"


@dataclass(frozen=True)
class EpochCompleted:
    metrics: dict[str, Any]  # an EpochMetrics; a resumed trainer sends those of its past again


@dataclass(frozen=True)
class FoldScored:
    """A fold of the cross-validation is done: progress, though no epoch is recorded."""


@dataclass(frozen=True)
class Finished:
    reason: Literal["completed", "early_stopped", "max_runtime_exceeded"]
    trained: TrainedModel


@dataclass(frozen=True)
class Failed:
    """The job cannot go on; `retryable` says that it might at another time or place."""

    reason: str
    detail: str
    retryable: bool = False


@dataclass(frozen=True)
class Stopped:
    """Checkpointed as ordered, for another trainer to go on from."""


@dataclass(frozen=True)
class Timed:
    """A step of the work that is done: for whoever measures, and of no weight for the job."""

    step: Step
    started_at: float  # Unix seconds, by the trainer's clock
    seconds: float


Message = EpochCompleted | FoldScored | Finished | Failed | Stopped
