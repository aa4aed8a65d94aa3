"""Training runs whose next batches are computed together.

Their parameters are views of one tensor while they are a cohort. Everything but the steps is left
to each run: its epochs, validation, early stopping and final weights.
"""

import time
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, cast

import torch

from dropout_core.config import FusedActivation, can_stack
from dropout_core.training.fused_step import FusedStep
from dropout_core.training.stack_batches import Batch, Batches, places_of
from dropout_core.training.stack_layout import Layout
from dropout_core.training.stack_losses import stack_loss
from dropout_core.training.stack_masks import Memory, draws_as
from dropout_core.training.stack_probe import sizes_at_once
from dropout_core.training.stack_step import StackStep, padded
from dropout_core.training.stack_update import Update, learns_as

if TYPE_CHECKING:
    from dropout_core.training.loop import Training


def is_stacked(training: "Training") -> bool:
    """Return whether the steps of a run are computed in a cohort, be it alone."""
    model = training.model
    return (
        training.config.stacked
        and training.device.type == "cpu"
        and can_stack(model.config, training.config)
        and FusedStep.fits(model)
        and (model.inputs is None or not model.inputs.learns)
    )


def company(training: "Training") -> Hashable:
    """Return what runs have in common that can be a cohort now."""
    model, config, data = training.model, training.config, training.data
    inputs = model.inputs
    return (
        Layout.of(model).widths,
        model.config.activation,
        None if inputs is None else (inputs.num_values, inputs.cardinalities),
        data.train_features.dtype,
        len(data.train_features),
        data.train_weights is None,
        training.task,
        config.loss,
        config.quantiles,
        config.batch_size,
        training.batch,
    )


class Cohort:
    """Runs that are stacked and have the same `company`."""

    def __init__(self, trainings: Sequence["Training"]) -> None:
        # Networks that draw as many random numbers, or learn alike, are best side by side.
        self.trainings = sorted(trainings, key=lambda t: (draws_as(places_of(t)), learns_as(t)))
        first = self.trainings[0]
        self._layout = layout = Layout.of(first.model)
        num_rows, size = len(first.data.train_features), first.config.batch_size
        rows = {padded(min(num_rows, size)), padded(num_rows % size or size)}
        activation = cast(FusedActivation, first.model.config.activation)
        self._num_networks, sizes = sizes_at_once(
            layout, activation, num_networks=len(self.trainings), rows=sorted(rows)
        )
        self._memory = Memory()
        extra = self._num_networks - len(self.trainings)
        members = [*self.trainings, *self.trainings[-1:] * extra]
        self._loss = stack_loss(
            [member.config for member in members],
            first.task,
            targets=[member.data.train_targets for member in members],
            num_outputs=layout.widths[-1],
            dtype=layout.dtype,
        )
        parameters, gradients = (layout.empty(self._num_networks) for _ in range(2))
        self._step = StackStep(
            layout,
            activation,
            self._loss,
            parameters,
            of_biases=layout.split(gradients)[layout.num_layers :],
            sizes=sizes,
        )
        self._loss_sums = torch.stack([training.loss_sum for training in self.trainings])
        for number, training in enumerate(self.trainings):
            training.model.zero_grad()
            training.loss_sum = self._loss_sums[number]
            pairs = zip(
                layout.parameters(training.model), layout.split(parameters[number]), strict=True
            )
            for parameter, view in pairs:
                parameter.data = view.copy_(parameter.data)
        self._update = Update(self.trainings, layout, parameters, gradients)

    @torch.no_grad()
    def train(self) -> bool:
        """Train until the epoch of one of the runs ends; return False if one is interrupted."""
        trainings = self.trainings
        batch, stop = trainings[0].batch, min(t.batches_to_train for t in trainings)
        annealed = [
            t for t in trainings if t.config.dropout_schedule or t.config.weight_decay_schedule
        ]
        batches = Batches(
            trainings, self._loss, num_networks=self._num_networks, memory=self._memory
        ).take(batch, stop)
        started = time.perf_counter()
        try:
            while batch < stop and not any(training.interrupted for training in trainings):
                for training in annealed:
                    done = len(training.history) * training.num_batches
                    training.annealing.begin(done + batch)
                batch += 1
                self.step(next(batches), is_last=batch == stop)
        finally:
            batches.close()
            seconds = time.perf_counter() - started
            for training in trainings:
                training.batch = batch
                training.seconds += seconds
                training.annealing.end()
        return batch == stop

    def step(self, batch: Batch, *, is_last: bool) -> None:
        """Take a step of all runs; the last one of an epoch is what their metrics tell of."""
        losses = self._step(batch.x, batch.masks, batch.targets)
        if is_last:
            self._note_rates()
        self._update.step(self._step.of_weights)
        num_rows = batch.targets[0].shape[1]
        self._loss_sums.add_(losses[: len(self.trainings)], alpha=num_rows)

    def release(self) -> None:
        """Give the runs tensors of their own, so that this cohort's memory can be freed."""
        self._update.release()
        for training in self.trainings:
            training.loss_sum = training.loss_sum.clone()
            for parameter in self._layout.parameters(training.model):
                parameter.data = parameter.data.clone()

    def _note_rates(self) -> None:
        for training in self.trainings:
            rate = training.optimizer.param_groups[0]["lr"]
            training.learning_rate = rate * training.reported_rate
