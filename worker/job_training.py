"""Train one job in the trainer's process: checkpoints, a refit, folds, scores, and the model."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from math import isfinite
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from dropout_core.config.sweep import CROSS_VALIDATION
from dropout_core.errors import DataError
from dropout_core.evaluation.cross_validation import summary
from dropout_core.model.saved_model import MANIFEST, WEIGHTS
from dropout_core.pipeline.completion import evaluate_as_served
from dropout_core.pipeline.resolved_table import ResolvedTable, resolve_table
from dropout_core.pipeline.tabular_run import TabularRun
from dropout_core.sweeps.scoring import needs_evaluation, trial_metrics
from dropout_core.training.loop import Diverged, Training
from dropout_core.training.memory import training_bytes
from dropout_core.training.state import EpochMetrics
from store.errors import ArtifactDamaged
from store.job_spec import JobSpec
from store.models import TrainedModel
from worker.job_artifacts import CHECKPOINTS, FOLDS, REFIT, JobArtifacts
from worker.messages import (
    Assignment,
    Began,
    EpochCompleted,
    Failed,
    Finished,
    Message,
    Order,
    Progressed,
    Reached,
    Step,
    Stopped,
    Timed,
    TimedStep,
    Warned,
)
from worker.trainer_pipe import TrainerPipe

_NO_EPOCH = Failed("max_runtime_exceeded", "the time limit came before the first epoch ended")


class JobTraining:
    """The training of one job, alone or as a member of a stack.

    `like` is the training of another job on the same rows with the same preprocessing: its rows are
    shared. `saver` stores checkpoints meanwhile: `wait_until_saved`. Raises DataError and
    InfeasibleError.
    """

    def __init__(
        self,
        pipe: TrainerPipe,
        assignment: Assignment,
        *,
        like: "JobTraining | None" = None,
        saver: Executor | None = None,
    ) -> None:
        self.assignment = assignment
        self._pipe = pipe
        self._files = JobArtifacts(assignment)
        self._spec = JobSpec.of_stored(assignment.spec)
        self._tabular_run = self._build_run() if like is None else self._build_run_like(like)
        self._refitted: TabularRun | None = None
        self._training = self._tabular_run.training  # what an order interrupts
        self._saved_at = time.monotonic()
        self._saver = saver
        self._saving: Future[None] | None = None

    @property
    def training(self) -> Training:
        """Return the training of the job's own model."""
        return self._tabular_run.training

    @property
    def own_bytes(self) -> int:
        """Estimate the memory that the network takes besides the rows, which a stack shares."""
        network, config = self.training.model, self.training.config
        return training_bytes(
            network.config,
            config,
            in_features=network.in_features,
            out_features=network.out_features,
            num_rows=config.batch_size,
            num_columns=0,
        )

    @property
    def has_reached(self) -> bool:
        """Return whether a trial has the epochs that it was to have, or its training is over."""
        pause_after = self.assignment.pause_after
        if pause_after is None:
            return False
        return self.training.finished or len(self.training.history) >= pause_after

    @property
    def order(self) -> Order | None:
        return self._pipe.order_for(self.assignment.job_id)

    def run(self) -> Message:
        """Train until the end, the rung, or an order to stop, and return the last message."""
        self.begin()
        self.interrupt_by(self._interrupt)
        with self._timed("train"):
            if not self.has_reached:
                for metrics in self.training:
                    self.completed(metrics)
                    if self.has_reached:
                        break
        return self.conclude()

    def interrupt_by(self, interrupt: Callable[[], None]) -> None:
        """Call `interrupt` at an order, in another thread; at once if there is one already."""
        self._pipe.on_order(self.assignment.job_id, interrupt)
        if self.order is not None:
            interrupt()

    def _interrupt(self) -> None:
        self._training.interrupt()

    def begin(self) -> None:
        """Go on from the newest checkpoint, and tell of the epochs that it has."""
        self._resume()
        for metrics in self.training.history:
            self._send(EpochCompleted(asdict(metrics)))
        self._tell("training")

    def completed(self, metrics: EpochMetrics) -> None:
        """Tell of an epoch, and save the state if that is due."""
        self._send(EpochCompleted(asdict(metrics)))
        if self._checkpoint_is_due and not self.has_reached:  # which saves it in any case
            self.checkpoint()

    def conclude(self) -> Message:
        """Return the last message of a job whose training is over, at its rung or interrupted."""
        self.interrupt_by(self._interrupt)
        if self.assignment.pause_after is not None and self.order != "finish_now":
            if self.has_reached or (self.order == "reach_now" and self.training.history):
                return self._reach()
            if self.order == "reach_now":
                return _NO_EPOCH
        elif self.assignment.pause_after is None and self.training.finished:
            reason = "early_stopped" if self.training.stopped_early else "completed"
            if not (self._refit() and self._cross_validate()):
                if self.order != "finish_now":
                    return Stopped()
                reason = "max_runtime_exceeded"
            return self._finish(reason)
        if self.order == "finish_now":
            return self._finish_now()
        self.checkpoint()
        return Stopped()

    def go_on(self, assignment: Assignment) -> None:
        """Continue a trial that waits for its next assignment."""
        self.assignment = assignment
        self._files = JobArtifacts(assignment)
        self._tell("training")

    def _reach(self) -> Message:
        """Save the state and score it; another attempt may go on from there."""
        self.checkpoint()
        try:
            scores = self._scores()
        except Diverged as error:
            return Failed("diverged", str(error))
        if scores is None and self.order != "reach_now":
            return Stopped()
        is_finished = self.training.finished or self.order == "reach_now"
        reached = partial(Reached, len(self.training.history), is_finished=is_finished)
        if scores is None:
            return reached(None, detail="the time limit came before the folds were scored")
        values = []
        for name, value in scores.items():
            if value is None or not isfinite(value):
                return reached(None, detail=f"{name} is undefined for the validation rows")
            values.append(float(value))
        return reached(tuple(values))

    def _scores(self) -> dict[str, float | None] | None:
        """Return the trial's metrics as its model is now; None if ordered to stop before."""
        names = self.assignment.metrics
        over_folds: dict[str, float | None] = {}
        if any(name.startswith(CROSS_VALIDATION) for name in names):
            if not self._cross_validate():
                return None
            folds = self._files.scores(FOLDS)
            over_folds = summary([folds[number] for number in sorted(folds)])["mean"]
        evaluates = needs_evaluation(names)
        if evaluates:
            self._tell("evaluating")
        with self._timed("evaluate") if evaluates else nullcontext():
            return trial_metrics(self._tabular_run, names, over_folds=over_folds)

    def _build_run(self) -> TabularRun:
        """Read the dataset's table and prepare the training. Raises DataError."""
        self._tell("reading")
        with self._timed("read data"):
            run = TabularRun(
                self._read_table(),
                preprocessing=self._spec.preprocessing,
                model=self._spec.model,
                training=self._spec.training,
                on_step=self._tell,
            )
        self._warn(run.table)
        return run

    def _read_table(self) -> ResolvedTable:
        try:
            frame = pl.read_parquet(
                self.assignment.artifacts.fetch(self.assignment.dataset_artifact)
            )
        except ArtifactDamaged as error:
            message = "the dataset's table is damaged: it does not match its checksum"
            raise DataError(message) from error
        except (FileNotFoundError, PolarsError) as error:
            raise DataError(f"the dataset's table cannot be read: {error}") from error
        return resolve_table(frame, self._spec.problem, reading=self.assignment.dataset_reading)

    def _build_run_like(self, like: "JobTraining") -> TabularRun:
        run = TabularRun(
            like._tabular_run.table,
            preprocessing=self._spec.preprocessing,
            model=self._spec.model,
            training=self._spec.training,
            like=like._tabular_run,
        )
        self._warn(run.table)
        return run

    def _warn(self, table: ResolvedTable) -> None:
        if warnings := table.split_warnings:
            self._send(Warned(warnings))

    def _send(self, message: Message | Timed) -> None:
        self._pipe.send(self.assignment.job_id, message)

    def _tell(self, step: Step) -> None:
        self._send(Began(step))

    def _refit(self) -> bool:
        """Train anew on all rows but the test's, if so configured; False if ordered to stop before.

        A refit that diverges leaves the model as it is.
        """
        if not self._refits:
            return True
        self.checkpoint()
        self._tell("refitting")
        refitted = self._tabular_run.refit()
        try:
            with self._timed("refit"):
                if not self._train_through(refitted, folder=REFIT):
                    return False
        except Diverged as error:
            self._send(Warned((f"the model is not refitted: {error}",)))
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
            if self.order is not None:  # it arrived before self._training was this run's
                return False
            for _ in run.training:
                if folder is not None and self._checkpoint_is_due:
                    self.checkpoint(folder)
                    self._send(Progressed())
            if folder is not None and (run.training.finished or self.order != "finish_now"):
                self.checkpoint(folder)
                self._send(Progressed())
            return run.training.finished
        finally:
            self._training = self._tabular_run.training

    def _cross_validate(self) -> bool:
        """Train and score the folds that no attempt has scored; False if ordered to stop before."""
        num_folds = self._spec.dataset.split.folds
        if num_folds is None:
            return True
        if not self._refits:  # which has made one
            self.checkpoint()
        done = self._files.scores(FOLDS)
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
            evaluation = evaluate_as_served(fold, refitted)["test"].to_dict()
            self._files.put_scores(FOLDS, number, evaluation)
            self._send(Progressed())
            del fold, refitted  # frees their memory before the next ones are built
        return True

    @contextmanager
    def _timed(self, step: TimedStep) -> Iterator[None]:
        """Send the duration of a step, unless it fails."""
        started_at, began = time.time(), time.monotonic()
        yield
        self._send(Timed(step, started_at, time.monotonic() - began))

    @property
    def _checkpoint_is_due(self) -> bool:
        return time.monotonic() - self._saved_at >= self.assignment.checkpoint_seconds

    def checkpoint(self, folder: str = CHECKPOINTS) -> None:
        """Store the state of the training in progress."""
        with self._timed("checkpoint"):
            state = self._training.state()
            if self._saver is None:
                self._files.put_checkpoint(folder, state)
            else:
                self.wait_until_saved()
                self._saving = self._saver.submit(self._files.put_checkpoint, folder, state)
        self._saved_at = time.monotonic()

    def wait_until_saved(self) -> None:
        """Wait for the checkpoint that another thread stores, and raise the error if it failed."""
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.result()

    def _resume(self, folder: str = CHECKPOINTS) -> None:
        state = self._files.newest_checkpoint(folder)
        if state is not None:
            self._training.restore(state)

    def _finish_now(self) -> Message:
        if not self.training.history:
            return _NO_EPOCH
        self.training.settle()
        return self._finish("max_runtime_exceeded")

    def _finish(self, reason: str) -> Finished:
        """Evaluate and store the model, and describe it; the supervisor inserts its row."""
        self._tell("evaluating")
        run = self._refitted or self._tabular_run
        with self._timed("evaluate"):
            evaluations = evaluate_as_served(self._tabular_run, self._refitted)
        metrics = {name: evaluation.to_dict() for name, evaluation in evaluations.items()}
        if folds := self._files.scores(FOLDS):
            scored = [folds[number] for number in sorted(folds)]
            metrics["cross_validation"] = summary(scored, of=self._spec.dataset.split.folds)
        artifact = f"{self.assignment.prefix}/model"
        with self._timed("save"), self._files.scratch() as scratch:
            manifest = run.save(Path(scratch))
            size_bytes = (Path(scratch) / WEIGHTS).stat().st_size
            for name in (WEIGHTS, MANIFEST):
                self.assignment.artifacts.put(f"{artifact}/{name}", Path(scratch) / name)
        trained = TrainedModel(
            manifest=manifest.model_dump(mode="json"),
            metrics=metrics,
            num_parameters=sum(p.numel() for p in run.model.parameters()),
            size_bytes=size_bytes,
            artifact=artifact,
        )
        return Finished(reason, trained)  # type: ignore[arg-type]


def _fold_folder(number: int) -> str:
    """Return the folder of the checkpoints of a fold."""
    return f"fold-{number}"
