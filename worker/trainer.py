"""The child process: train one attempt with dropout_core, and send its progress to the supervisor.

It is forked from a forkserver that has torch loaded, so a small job starts at once, and CUDA is
first used here. It holds no lease and writes no database, only artifacts under its own prefix.
"""

import json
import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import polars as pl
import structlog
import torch
from polars.exceptions import PanicException, PolarsError

from dropout_core.errors import DataError
from dropout_core.evaluation.cross_validation import summary
from dropout_core.evaluation.evaluator import Evaluation
from dropout_core.files import NO_SPACE, is_disk_full
from dropout_core.model.saved_model import MANIFEST, WEIGHTS
from dropout_core.pipeline.resolved_table import resolve_table
from dropout_core.pipeline.tabular_run import TabularRun
from dropout_core.training.checkpoint import (
    CheckpointError,
    load_checkpoint,
    position,
    save_checkpoint,
)
from dropout_core.training.feasibility import InfeasibleError
from dropout_core.training.loop import Diverged
from store.errors import ArtifactDamaged, StorageUnavailable
from store.job_spec import JobSpec
from store.models import TrainedModel
from worker.messages import (
    Assignment,
    Began,
    EpochCompleted,
    Failed,
    Finished,
    Message,
    Order,
    Progressed,
    Step,
    Stopped,
    Timed,
    TimedStep,
    Warned,
    job_prefix,
)

log = structlog.get_logger()

NICENESS = 5  # a server on the same machine has priority
CHECKPOINTS = "checkpoints"  # the folder of the model's own checkpoints
REFIT = "refit"  # the folder of the checkpoints of its refit
FOLDS = "folds"  # the folder of the folds' scores
_MAX_REASON = 300  # characters
# A device that failed, or a limit on threads: not what the job computes.
_OF_THE_MACHINE = re.compile(r"CUDA|cuDNN|CUBLAS|NCCL|start new thread", re.IGNORECASE)
KEPT_CHECKPOINTS = 2  # if the newest is damaged, the one before is used


def main(connection: Connection, assignment: Assignment) -> None:
    """Run one attempt to its end, and send the message that ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor handles Ctrl-C
    os.nice(NICENESS)
    torch.set_num_threads(assignment.num_threads)
    last: Message
    try:
        last = Trainer(connection, assignment).run()
    except (BrokenPipeError, ConnectionResetError):
        return  # the supervisor is dead
    except (Exception, PanicException) as error:
        last = _failure(error)
    connection.send(last)


def _failure(error: BaseException) -> Failed:
    """Return what to tell of an error; raise one that another attempt may not meet.

    With the same data and seed the next attempt computes the same, so any other error ends the job.
    """
    match error:
        case Diverged():
            return Failed("diverged", str(error))
        case DataError() | InfeasibleError():
            return Failed("invalid_data", str(error))
        case MemoryError():
            return Failed("out_of_memory", str(error) or "memory ran out", retryable=True)
        case StorageUnavailable():
            return Failed("worker_lost", "the artifact storage did not answer", retryable=True)
        case OSError() if is_disk_full(error):
            return Failed("disk_full", NO_SPACE)  # the error names an internal path
        case RuntimeError() if _is_out_of_memory(error):
            return Failed("out_of_memory", str(error), retryable=True)
        case OSError():
            raise error
        case RuntimeError() if _OF_THE_MACHINE.search(str(error)):
            raise error
    log.error("the trainer failed", exc_info=error)
    reason = next(iter(str(error).splitlines()), "")[:_MAX_REASON]
    return Failed("internal_error", f"{type(error).__name__}: {reason}")


class Trainer:
    def __init__(self, connection: Connection, assignment: Assignment) -> None:
        self._connection = connection
        self._assignment = assignment
        self._artifacts = assignment.artifacts
        self._spec = JobSpec.of_stored(assignment.spec)
        with self._timed("read data"):
            self._tabular_run = self._build_run()
        self._refitted: TabularRun | None = None
        self._training = self._tabular_run.training  # what an order interrupts
        self._order: Order | None = None
        self._saved_at = time.monotonic()

    def run(self) -> Message:
        """Train until the end or an order to stop, and return the last message."""
        self._resume()
        for metrics in self._training.history:
            self._connection.send(EpochCompleted(asdict(metrics)))
        threading.Thread(target=self._take_orders, daemon=True).start()
        self._tell("training")
        with self._timed("train"):
            for metrics in self._training:
                self._connection.send(EpochCompleted(asdict(metrics)))
                if self._checkpoint_is_due:
                    self._checkpoint()
        if self._training.finished:
            reason = "early_stopped" if self._training.stopped_early else "completed"
            if not (self._refit() and self._cross_validate()):
                if self._order != "finish_now":
                    return Stopped()
                reason = "max_runtime_exceeded"
            return self._finish(reason)
        if self._order == "finish_now":
            return self._finish_now()
        self._checkpoint()
        return Stopped()

    def _build_run(self) -> TabularRun:
        """Read the dataset's table and prepare the training. Raises DataError."""
        self._tell("reading")
        try:
            frame = pl.read_parquet(self._artifacts.fetch(self._assignment.dataset_artifact))
        except ArtifactDamaged as error:
            message = "the dataset's table is damaged: it does not match its checksum"
            raise DataError(message) from error
        except (FileNotFoundError, PolarsError) as error:
            raise DataError(f"the dataset's table cannot be read: {error}") from error
        table = resolve_table(frame, self._spec.problem, reading=self._assignment.dataset_reading)
        if table.split_warnings:
            self._connection.send(Warned(table.split_warnings))
        return TabularRun(
            table,
            preprocessing=self._spec.preprocessing,
            model=self._spec.model,
            training=self._spec.training,
            on_step=self._tell,
        )

    def _tell(self, step: Step) -> None:
        self._connection.send(Began(step))

    def _refit(self) -> bool:
        """Train anew on all rows but the test's, if so configured; False if ordered to stop before.

        A refit that diverges leaves the model as it is.
        """
        if not self._refits:
            return True
        self._checkpoint()
        self._tell("refitting")
        refitted = self._tabular_run.refit()
        try:
            with self._timed("refit"):
                if not self._train_through(refitted, folder=REFIT):
                    return False
        except Diverged as error:
            self._connection.send(Warned((f"the model is not refitted: {error}",)))
        else:
            self._refitted = refitted
        return True

    @property
    def _refits(self) -> bool:
        stopping = self._spec.training.early_stopping
        return stopping is not None and stopping.refit

    def _train_through(self, run: TabularRun, *, folder: str | None = None) -> bool:
        """Train a run to its end, with checkpoints if it has a folder; False if ordered to stop."""
        self._training = run.training
        try:
            if folder is not None:
                self._resume(folder)
            if self._order is not None:  # it arrived before self._training was this run's
                return False
            for _ in run.training:
                if folder is not None and self._checkpoint_is_due:
                    self._checkpoint(folder)
                    self._connection.send(Progressed())
            if folder is not None and (run.training.finished or self._order != "finish_now"):
                self._checkpoint(folder)
                self._connection.send(Progressed())
            return run.training.finished
        finally:
            self._training = self._tabular_run.training

    def _cross_validate(self) -> bool:
        """Train and score the folds that no attempt has scored; False if ordered to stop before."""
        num_folds = self._spec.dataset.split.folds
        if num_folds is None:
            return True
        if not self._refits:  # which has made one
            self._checkpoint()
        done = self._scored_folds()
        for number in range(num_folds):
            if number in done:
                continue
            fold, refitted = self._tabular_run.fold(number), None
            # A fold that diverges is scored as it is, which still tells something about the config.
            # If only its refit diverges, it is scored as the model is that would be kept.
            try:
                if not self._train_through(fold):
                    return False
                if self._refits:
                    refitted = fold.refit()
                    if not self._train_through(refitted):
                        return False
            except Diverged:
                refitted = None
            evaluation = _evaluate_as_served(fold, refitted)["test"].to_dict()
            self._put(f"{self._assignment.prefix}/{FOLDS}/{number}", json.dumps(evaluation))
            self._connection.send(Progressed())
            del fold, refitted  # frees their memory before the next ones are built
        return True

    def _scored_folds(self) -> dict[int, dict[str, Any]]:
        """Return the stored scores of all attempts' folds, by the number of the fold."""
        return {
            int(Path(key).name): json.loads(self._artifacts.fetch(key).read_bytes())
            for key in self._artifacts.list(job_prefix(self._assignment.job_id))
            if Path(key).parent.name == FOLDS
        }

    def _put(self, key: str, text: str) -> None:
        with self._scratch() as scratch:
            path = Path(scratch) / "text"
            path.write_text(text)
            self._artifacts.put(key, path)

    def _take_orders(self) -> None:
        """Receive an order and interrupt the training; exit at once if the supervisor is dead."""
        try:
            self._order = self._connection.recv()
            self._training.interrupt()
            self._connection.recv()
        except (EOFError, OSError):
            os._exit(1)

    def _resume(self, folder: str = CHECKPOINTS) -> None:
        """Restore the newest undamaged checkpoint that any attempt has put into the folder."""
        names = [
            (found, key)
            for key in self._artifacts.list(job_prefix(self._assignment.job_id))
            if Path(key).parent.name == folder and (found := position(Path(key).name))
        ]
        for _, key in sorted(names, reverse=True):
            try:
                state = load_checkpoint(self._artifacts.fetch(key), run=self._run_name(folder))
            except (CheckpointError, ArtifactDamaged, FileNotFoundError):
                continue
            self._training.restore(state)
            return

    def _run_name(self, folder: str) -> str:
        """Return the name of a run in its checkpoints, so that none is taken for another's."""
        job_id = self._assignment.job_id
        return job_id if folder == CHECKPOINTS else f"{job_id}/{folder}"

    @contextmanager
    def _timed(self, step: TimedStep) -> Iterator[None]:
        """Send the duration of a step, unless it fails."""
        started_at, began = time.time(), time.monotonic()
        yield
        self._connection.send(Timed(step, started_at, time.monotonic() - began))

    def _scratch(self) -> tempfile.TemporaryDirectory[str]:
        return tempfile.TemporaryDirectory(dir=self._assignment.scratch)

    @property
    def _checkpoint_is_due(self) -> bool:
        return time.monotonic() - self._saved_at >= self._assignment.checkpoint_seconds

    def _checkpoint(self, folder: str = CHECKPOINTS) -> None:
        prefix = f"{self._assignment.prefix}/{folder}"
        with self._timed("checkpoint"), self._scratch() as scratch:
            state = self._training.state()
            path = save_checkpoint(Path(scratch), state, run=self._run_name(folder))
            self._artifacts.put(f"{prefix}/{path.name}", path)
        for key in self._artifacts.list(prefix)[:-KEPT_CHECKPOINTS]:
            self._artifacts.delete(key)
        self._saved_at = time.monotonic()

    def _finish_now(self) -> Message:
        if not self._training.history:
            return Failed(
                "max_runtime_exceeded", "the time limit came before the first epoch ended"
            )
        self._training.settle()
        return self._finish("max_runtime_exceeded")

    def _finish(self, reason: str) -> Finished:
        """Evaluate and store the model, and describe it; the supervisor inserts its row."""
        self._tell("evaluating")
        run = self._refitted or self._tabular_run
        with self._timed("evaluate"):
            evaluations = _evaluate_as_served(self._tabular_run, self._refitted)
        metrics = {name: evaluation.to_dict() for name, evaluation in evaluations.items()}
        if folds := self._scored_folds():
            scored = [folds[number] for number in sorted(folds)]
            metrics["cross_validation"] = summary(scored, of=self._spec.dataset.split.folds)
        artifact = f"{self._assignment.prefix}/model"
        with self._timed("save"), self._scratch() as scratch:
            manifest = run.save(Path(scratch))
            size_bytes = (Path(scratch) / WEIGHTS).stat().st_size
            for name in (WEIGHTS, MANIFEST):
                self._artifacts.put(f"{artifact}/{name}", Path(scratch) / name)
        trained = TrainedModel(
            manifest=manifest.model_dump(mode="json"),
            metrics=metrics,
            num_parameters=sum(p.numel() for p in run.model.parameters()),
            size_bytes=size_bytes,
            artifact=artifact,
        )
        return Finished(reason, trained)  # type: ignore[arg-type]


def _evaluate_as_served(
    run: TabularRun, refitted: TabularRun | None = None
) -> dict[str, Evaluation]:
    """Calibrate and score the model with one thread, as in serving, where it has the same bits.

    The validation rows, on which a refitted model was trained, are those of the run before it.
    """
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        calibrates = run.training.config.calibrate
        if calibrates:
            run.calibrate()
        evaluations = run.evaluate()
        if refitted is None:
            return evaluations
        if calibrates:
            refitted.calibrate_as(run)
        return evaluations | refitted.evaluate()
    finally:
        torch.set_num_threads(num_threads)


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether memory ran out: CUDA has an error type, the CPU's allocator only a message."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
