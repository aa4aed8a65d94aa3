"""The training loop. It yields EpochMetrics; the caller decides what to do with them.

    for metrics in train(model, data, config, task="multiclass"):
        print(metrics)

All random numbers are a function of the seed and the epoch, so a run that is interrupted between
any two batches and restored, in this process or another, ends with the same bits.

Shapes: N rows, B rows of a batch, F features, C outputs.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dropout_core.config import Task, TrainingConfig
from dropout_core.nn.mlp import MLP
from dropout_core.seeds import derive_seed, generator
from dropout_core.training import layer_rates
from dropout_core.training.annealing import Annealing
from dropout_core.training.cuda_graph import GraphedStep
from dropout_core.training.early_stopping import EarlyStopping
from dropout_core.training.feasibility import InfeasibleError, check_feasible
from dropout_core.training.fused_step import Gradients, gradients_of
from dropout_core.training.losses import Loss, training_loss
from dropout_core.training.moving_average import moving_average
from dropout_core.training.optimizers import ParameterGroups, build_optimizer, build_scheduler
from dropout_core.training.stack_cohort import Cohort, is_stacked
from dropout_core.training.state import EpochMetrics, TrainingState, prefixed, slots_of
from dropout_core.training.training_data import TrainingData, check_arguments
from dropout_core.training.validation import BATCH_SIZE, outputs_of, validate


@dataclass(frozen=True)
class Length:
    """How long a run is that follows the schedules of another one, as a refit does.

    It takes `num_steps`, and the other's epochs, which the config counts, have `num_batches` each.
    """

    num_steps: int
    num_batches: int


class Diverged(ArithmeticError):
    """The loss of an epoch, or an output at the end of it, is not a finite number."""

    def __init__(self, epoch: int, loss: float, *, what: str = "the loss") -> None:
        super().__init__(epoch, loss)  # the arguments, so that it can be pickled
        self.epoch = epoch
        self.loss = loss
        self.what = what

    def __str__(self) -> str:
        return f"{self.what} became {self.loss} in epoch {self.epoch}"


class Training:
    """A training run: an iterator of EpochMetrics that can be interrupted, saved and restored.

    Iterating trains `model` in place; `settle` says which weights it holds at the end.
    `parameter_groups` give torch's optimizer other options for some parameters, such as those of a
    `scaling_recipe.Recipe`; by default they follow the config, as `length` does. Raises Diverged
    when a loss is not finite, InfeasibleError when the config asks for what the data, the model or
    the task does not allow, and TypeError or ValueError that names the argument that does not fit.
    """

    def __init__(
        self,
        model: MLP,
        data: TrainingData,
        config: TrainingConfig,
        *,
        task: Task,
        parameter_groups: ParameterGroups | None = None,
        length: Length | None = None,
    ) -> None:
        check_arguments(model, data, config, task=task)
        check_feasible(
            model.config,
            config,
            task=task,
            num_rows=len(data.train_features),
            num_outputs=model.out_features,
            has_validation=data.validation_features is not None,
        )
        self.device = data.train_features.device
        self.model = model.to(self.device)
        self.data = data
        self.config = config
        self.task = task
        self.history: list[EpochMetrics] = []
        self.stopped_early = False
        self.length = length or Length(config.epochs * self.num_batches, self.num_batches)
        self._best_epoch: int | None = None
        self.batch = 0  # the next batch of the epoch in progress
        self.loss_sum = torch.zeros((), dtype=torch.float64, device=self.device)
        self.seconds = 0.0  # spent so far on the epoch in progress
        self._stopping = self._build_stopping()
        self._best_weights: dict[str, Tensor] = {}
        self.average = None if config.ema_decay is None else moving_average(model, config.ema_decay)
        self.masks = torch.Generator(self.device)
        self.masks.manual_seed(self._mask_seed(epoch=1))
        groups = parameter_groups or layer_rates.parameter_groups(model, config)
        self.optimizer = build_optimizer(groups, config.optimizer)
        # What is reported is the config's learning rate, which the first group need not have.
        self.reported_rate = config.optimizer.lr / self.optimizer.param_groups[0]["lr"]
        num_batches = self.length.num_batches
        self.annealing = Annealing(
            model, self.optimizer, config, num_steps=config.epochs * num_batches
        )
        self.scheduler = build_scheduler(
            self.optimizer, config.scheduler, num_epochs=config.epochs, num_batches=num_batches
        )
        self.learning_rate = 0.0  # of the step last taken
        self.interrupted = False
        model.use_generator(self.masks)
        model.use_bfloat16(config.precision == "bfloat16")
        self._gradients = self._build_step()

    @property
    def num_batches(self) -> int:
        """Batches an epoch. Batch norm cannot normalise one row: such a last batch is left out."""
        num_full, rest = divmod(len(self.data.train_features), self.config.batch_size)
        smallest = 2 if self.model.config.batch_norm else 1
        return num_full + (rest >= smallest)

    @property
    def finished(self) -> bool:
        num_epochs = -(-self.length.num_steps // self.num_batches)
        return self.stopped_early or len(self.history) == num_epochs

    @property
    def kept(self) -> EpochMetrics:
        """Return the epoch whose weights are kept if training ends now."""
        return self.history[self._num_kept - 1]

    @property
    def refit_length(self) -> Length:
        """Return the length of a run that ends where this one, which is over, has its weights."""
        return Length(self._num_kept * self.num_batches, self.num_batches)

    @property
    def _num_kept(self) -> int:
        return self._best_epoch or len(self.history)

    @property
    def batches_to_train(self) -> int:
        """Batches of the epoch in progress: the last one of a refit may have fewer."""
        num_done = len(self.history) * self.num_batches
        return min(self.num_batches, self.length.num_steps - num_done)

    def interrupt(self) -> None:
        """End the iteration before the next batch. Any thread may call it.

        This run cannot be continued, but `state` can be restored into a new run, which ends with
        the same bits.
        """
        self.interrupted = True

    def __iter__(self) -> Iterator[EpochMetrics]:
        # A stack of one has the bits that this run has in any other stack.
        alone = Cohort([self]) if is_stacked(self) else None
        try:
            while not self.finished:
                if not (self.train_epoch() if alone is None else alone.train()):
                    return
                yield self.complete_epoch()
        finally:
            if alone is not None:
                alone.release()
        self.settle()

    def settle(self, model: MLP | None = None) -> None:
        """Load the final weights into the model; call it when training has ended.

        Raises Diverged if outputs are not finite then: no loss need have seen the last step.

        They are the best weights that early stopping has seen, or else the moving average, if the
        config has one. They go into `model`, a copy of this run's, if it is given.
        """
        model = self.model if model is None else model
        if self._best_weights:
            model.load_state_dict(self._best_weights)
        elif self.average is not None:
            model.load_state_dict(self.average.module.state_dict())
        outputs = outputs_of(model, self.data.train_features[:BATCH_SIZE])
        if not outputs.isfinite().all():
            raise Diverged(len(self.history), math.nan, what="an output")

    def state(self) -> TrainingState:
        """Return a copy of the run's state; call it while the iterator is not running."""
        tensors = {
            "loss_sum": self.loss_sum,
            "mask_generator": self.masks.get_state(),
            **prefixed("model", self.model.state_dict()),
            **prefixed("best", self._best_weights),
            **prefixed("average", self.average.state_dict() if self.average else {}),
            **prefixed("optimizer", slots_of(self.optimizer)),
        }
        values = {
            "history": [metrics.recorded() for metrics in self.history],
            "batch": self.batch,
            "seconds": self.seconds,
            "stopped_early": self.stopped_early,
            **({} if self._stopping is None else self._stopping.state()),
            **({} if self._best_epoch is None else {"best_epoch": self._best_epoch}),
            "optimizer_groups": self.optimizer.state_dict()["param_groups"],
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
        }
        return TrainingState({name: t.detach().clone() for name, t in tensors.items()}, values)

    def restore(self, state: TrainingState) -> None:
        """Continue from `state`, which a run with the same model, data and config has made."""
        tensors, values = state.tensors, state.values
        self.model.load_state_dict(state.under("model"))
        self._best_weights = state.under("best")
        if self.average is not None:
            self.average.load_state_dict(state.under("average"))
        self.masks.set_state(tensors["mask_generator"].cpu())
        self.loss_sum = tensors["loss_sum"].to(self.device)
        self.history = [EpochMetrics(**metrics) for metrics in values["history"]]
        self.batch = values["batch"]
        self.seconds = values["seconds"]
        self.stopped_early = values["stopped_early"]
        if self._stopping is not None:
            self._stopping.restore(values)
            self._best_epoch = values.get("best_epoch")
        self.optimizer.load_state_dict(
            {"state": state.slots(), "param_groups": values["optimizer_groups"]}
        )
        if self.scheduler is not None:
            self.scheduler.load_state_dict(values["scheduler"])

    def _training_loss(self, *, weighted: bool) -> Loss:
        return training_loss(
            self.config,
            self.task,
            targets=self.data.train_targets,
            num_outputs=self.model.out_features,
            weighted=weighted,
        )

    def _build_stopping(self) -> EarlyStopping | None:
        """Return what watches the validation rows. Raises InfeasibleError if they say nothing."""
        stopping, targets = self.config.early_stopping, self.data.validation_targets
        if stopping is None or targets is None:
            return None
        weights = self.data.validation_weights
        loss = self._training_loss(weighted=weights is not None)
        watching = EarlyStopping(
            stopping, task=self.task, loss=loss, quantiles=self.config.quantiles
        )
        outputs = torch.zeros(len(targets), self.model.out_features, device=self.device)
        if watching.value(outputs, targets, weights=weights, plain_loss=0.0) is None:
            raise InfeasibleError(
                ("training", "early_stopping", "monitor"),
                f"{stopping.monitor} is undefined for the validation rows, which lack a class: "
                "watch `validation_loss`, or split off more of them",
            )
        return watching

    def _build_step(self) -> Gradients:
        loss = self._training_loss(weighted=self.data.train_weights is not None)
        changes = self.config.dropout_schedule is not None
        if self.device.type == "cuda" and self.data.train_weights is None and not changes:
            # A graph would keep the learning rate of its capture, so the optimizer's step stays
            # outside, and the dropout. It has no input for the weights of rows.
            rows = min(self.config.batch_size, len(self.data.train_features))
            step = gradients_of(self.model, loss)
            return GraphedStep(step, self.model, self.masks, num_rows=rows)
        clips = self.config.max_grad_norm is not None
        return gradients_of(self.model, loss, optimizer=None if clips else self.optimizer)

    @property
    def _validated_network(self) -> nn.Module:
        return self.model if self.average is None else self.average.module

    def _mask_seed(self, *, epoch: int) -> int:
        return derive_seed(self.config.seed, "dropout", epoch)

    def train_epoch(self) -> bool:
        """Train the remaining batches of the epoch in progress; False if interrupted before."""
        epoch = len(self.history) + 1
        num_rows = len(self.data.train_features)
        order = torch.randperm(num_rows, generator=generator(self.config.seed, "order", epoch))
        batches = torch.split(order.to(self.device), self.config.batch_size)
        num_batches = self.batches_to_train
        self.model.train()
        started = time.perf_counter()
        try:
            while self.batch < num_batches and not self.interrupted:
                self.annealing.begin((epoch - 1) * self.num_batches + self.batch)
                self._step(batches[self.batch])
                self.batch += 1
        finally:
            self.annealing.end()
        self.seconds += time.perf_counter() - started
        return self.batch == num_batches

    def _step(self, rows: Tensor) -> None:
        features_BF = self.data.train_features.index_select(0, rows)
        targets = self.data.train_targets.index_select(0, rows)
        given = self.data.train_weights
        weights = () if given is None else (given.index_select(0, rows),)
        loss = self._gradients(features_BF, targets, *weights)
        if self.config.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        self.learning_rate = self.optimizer.param_groups[0]["lr"] * self.reported_rate
        self.optimizer.step()
        self.model.constrain()
        if self.average is not None:
            self.average.update_parameters(self.model)
        if self.scheduler is not None:
            self.scheduler.step()
        self.loss_sum.add_(loss, alpha=len(rows))

    def complete_epoch(self) -> EpochMetrics:
        """Validate, and begin the next epoch. Raises Diverged if a loss is not finite."""
        epoch = len(self.history) + 1
        num_rows = self.batches_to_train * self.config.batch_size
        num_trained = min(num_rows, len(self.data.train_features))
        train_loss = float(self.loss_sum) / num_trained
        if not math.isfinite(train_loss):
            raise Diverged(epoch, train_loss)
        validation_loss, validation_score, monitored = self._validate()
        if validation_loss is not None and not math.isfinite(validation_loss):
            raise Diverged(epoch, validation_loss)
        metrics = EpochMetrics(
            epoch=epoch,
            train_loss=train_loss,
            validation_loss=validation_loss,
            validation_score=validation_score,
            learning_rate=self.learning_rate,
            samples_per_second=num_trained / max(self.seconds, 1e-9),
            monitored=monitored,
        )
        self.history.append(metrics)
        self.batch = 0
        self.seconds = 0.0
        self.loss_sum.zero_()
        self.masks.manual_seed(self._mask_seed(epoch=epoch + 1))
        if self._stopping is not None:
            self._stop_or_keep(self._stopping, monitored)
        return metrics

    def _validate(self) -> tuple[float | None, float | None, float | None]:
        """Return the validation loss, the score, and the value that early stopping watches."""
        features, targets = self.data.validation_features, self.data.validation_targets
        if features is None or targets is None:
            return None, None, None
        outputs = outputs_of(self._validated_network, features)
        loss, score = validate(outputs, targets, task=self.task, quantiles=self.config.quantiles)
        if self._stopping is None:
            return loss, score, None
        weights = self.data.validation_weights
        return (
            loss,
            score,
            self._stopping.value(outputs, targets, weights=weights, plain_loss=loss),
        )

    def _stop_or_keep(self, stopping: EarlyStopping, value: float | None) -> None:
        """Stop if the monitored value stays as it is; keep the weights if it is the best."""
        if stopping.watch(value):
            weights = self._validated_network.state_dict()
            self._best_weights = {name: tensor.clone() for name, tensor in weights.items()}
            self._best_epoch = len(self.history)
        self.stopped_early = stopping.is_over


def train(
    model: MLP,
    data: TrainingData,
    config: TrainingConfig,
    *,
    task: Task,
    parameter_groups: ParameterGroups | None = None,
    length: Length | None = None,
) -> Training:
    """Train `model` in place: iterate over the result to get one EpochMetrics an epoch."""
    return Training(
        model, data, config, task=task, parameter_groups=parameter_groups, length=length
    )
