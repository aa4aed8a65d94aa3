"""A trainer without a supervisor: its process, and the end of the pipe that a supervisor holds."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dropout_core.data.reading import Reading
from store.artifacts.local_folder import LocalArtifacts
from store.job_spec import JobSpec
from tests.support.worker_examples import MODEL, TRAINING
from worker import trainer
from worker.messages import (
    Assignment,
    Began,
    EpochCompleted,
    Order,
    Ordered,
    Progressed,
    Timed,
)

ANSWER_SECONDS = 60


def assignment(
    folder: Path,
    *,
    attempt: int = 1,
    model: Any = MODEL,
    split: dict[str, Any] | None = None,
    **training: Any,
) -> Assignment:
    dataset = {"id": "ds_1", "target": "label", "features": ["x", "y"], "split": split or {}}
    spec = {
        "dataset": dataset,
        "task": "binary",
        "model": model,
        "training": {**TRAINING, **training},
    }
    (folder / "scratch").mkdir(exist_ok=True)
    return Assignment(
        job_id="job_1",
        attempt=attempt,
        spec=JobSpec.model_validate(spec).model_dump(mode="json"),
        dataset_artifact="datasets/1.parquet",
        dataset_reading=Reading(),
        artifacts=LocalArtifacts(folder / "artifacts"),
        scratch=folder / "scratch",
        num_threads=1,
        checkpoint_seconds=0,
    )


class Trainer:
    """A trainer process, and our end of its pipe."""

    def __init__(self, assignment: Assignment) -> None:
        context = multiprocessing.get_context("forkserver")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=trainer.main, args=(theirs, [assignment]))
        self.process.start()
        theirs.close()

    def next(self) -> Any:
        """Return the next message about the job that tells of more than a step."""
        while True:
            assert self.pipe.poll(ANSWER_SECONDS), "the trainer says nothing"
            _, message = self.pipe.recv()
            if not isinstance(message, Began | Timed):
                return message

    def order(self, order: Order) -> None:
        self.pipe.send(Ordered(order, frozenset({"job_1"})))

    def epochs(self, number: int) -> list[int]:
        """Return the epochs of the next messages."""
        return [self.next().metrics["epoch"] for _ in range(number)]

    def everything(self) -> tuple[list[str], list[int], Any]:
        """Return the steps and the epochs that it tells of, and its last message."""
        steps: list[str] = []
        epochs: list[int] = []
        while True:
            assert self.pipe.poll(ANSWER_SECONDS), "the trainer says nothing"
            match self.pipe.recv()[1]:
                case Began(step):
                    steps.append(step)
                case EpochCompleted(metrics):
                    epochs.append(metrics["epoch"])
                case Progressed() | Timed():
                    pass
                case last:
                    return steps, epochs, last

    def last(self) -> Any:
        """Return the first message that is no epoch and no other progress."""
        while isinstance(message := self.next(), EpochCompleted | Progressed):
            pass
        return message


@contextmanager
def training(assignment: Assignment) -> Iterator[Trainer]:
    running = Trainer(assignment)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.join()
        running.pipe.close()
