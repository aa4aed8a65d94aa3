"""What follows the gradients of a stack's networks: clipping, the optimizers, bounds, averages.

Each network has its own torch optimizer, whose state is moved into rows of numbers here. torch's
fused kernels then take a step of a whole row, or of several networks that learn alike.

Shapes: n networks, P numbers of a row, as in `stack_layout`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from dropout_core.training.fused_step import is_plain_descent
from dropout_core.training.stack_layout import Layout

if TYPE_CHECKING:
    from dropout_core.training.loop import Training

_SLOTS = {"sgd": ("momentum_buffer",), "adam": ("exp_avg", "exp_avg_sq")}
_SLOTS["adamw"] = _SLOTS["adam"]
_EPSILON = 1e-6  # of torch's clip_grad_norm_


class Update:
    """The updates of `trainings`, whose parameters and gradients are rows (n, P).

    While it is in use, the tensors of their optimizers and averages are views of its own.
    """

    def __init__(
        self,
        trainings: Sequence["Training"],
        layout: Layout,
        parameters: Tensor,
        gradients: Tensor,
    ) -> None:
        self._trainings = trainings
        self._parameters = parameters
        depth = layout.num_layers
        self._of_weights = layout.split(gradients)[:depth]
        self._weights = layout.split(parameters)[:depth]
        self._biases = layout.split(parameters)[depth:]
        self._of_biases = layout.split(gradients)[depth:]
        self._gradients = gradients
        self._steps = torch.zeros(len(trainings))
        self._slots = _slots(trainings, layout)
        self._adopt(layout)
        self._averages = [
            _Average(training.average, row, 1 - cast(float, training.config.ema_decay), layout)
            for training, row in zip(trainings, parameters, strict=False)
            if training.average is not None
        ]
        self._bounded = [t.model for t in trainings if t.model.max_norms is not None]
        bounds = [training.config.max_grad_norm for training in trainings]
        self._clips = any(bound is not None for bound in bounds)
        self._bounds = torch.tensor([bound or 0.0 for bound in bounds], dtype=layout.dtype)
        self._is_clipped = torch.tensor([bound is not None for bound in bounds])
        plain = [is_plain_descent(training.optimizer) for training in trainings]
        self._is_plain = all(plain) and not self._clips
        self._rates: Tensor | None = None
        self._scheduled = [t for t in trainings if t.scheduler is not None]
        runs = groupby(range(len(trainings)), key=lambda k: learns_as(trainings[k]))
        self._runs = [run for _, numbers in runs for run in self._of_run([*numbers], layout, plain)]

    def step(self, of_weights: Sequence[Tensor]) -> None:
        """Take a step of all networks, for gradients of the weights (n, O, I)."""
        if self._is_plain:
            self._descend(of_weights)
        else:
            for mine, given in zip(self._of_weights, of_weights, strict=True):
                mine.copy_(given)
            if self._clips:
                self._clip()
            self._steps.add_(1)
            for run in self._runs:
                run()
        for model in self._bounded:
            model.constrain()
        for average in self._averages:
            average.move()
        for training in self._scheduled:
            # What torch's `step` does, but for its warnings.
            scheduler = cast(Any, training.scheduler)
            scheduler._step_count += 1
            scheduler._update_lr()

    def release(self) -> None:
        """Give the optimizers and the averages tensors of their own."""
        for training in self._trainings:
            for slots in training.optimizer.state.values():
                for name, tensor in slots.items():
                    slots[name] = tensor.clone()
        for average in self._averages:
            average.release()

    def _adopt(self, layout: Layout) -> None:
        """Move the tensors of the optimizers into rows."""
        for number, training in enumerate(self._trainings):
            names = _names(training)
            rows = [layout.split(self._slots[name][number]) for name in names]
            state = training.optimizer.state
            for parameter, *views in zip(layout.parameters(training.model), *rows, strict=True):
                if not names:
                    continue
                given = state[parameter]
                for name, view in zip(names, views, strict=True):
                    if name in given:
                        view.copy_(given[name])
                new = dict(zip(names, views, strict=True))
                if training.config.optimizer.name != "sgd":
                    if "step" in given:
                        self._steps[number] = given["step"]
                    new = {"step": self._steps[number], **new}
                state[parameter] = new

    def _descend(self, of_weights: Sequence[Tensor]) -> None:
        """Do plain gradient descent with each network's rate."""
        count = len(self._trainings)
        if self._rates is None or self._scheduled:
            rates = [-training.optimizer.param_groups[0]["lr"] for training in self._trainings]
            self._rates = torch.tensor(rates, dtype=self._parameters.dtype)[:, None, None]
        for weight, given in zip(self._weights, of_weights, strict=True):
            weight[:count].add_(given[:count].mul_(self._rates))
        for bias, given in zip(self._biases, self._of_biases, strict=True):
            bias[:count].add_(given[:count] * self._rates[:, :, 0])

    def _clip(self) -> None:
        gradients = self._gradients[: len(self._trainings)]
        norms = torch.linalg.vector_norm(gradients, dim=1)
        factors = torch.clamp(self._bounds / (norms + _EPSILON), max=1.0)
        gradients.mul_(torch.where(self._is_clipped, factors, 1.0)[:, None])

    def _of_run(
        self, numbers: list[int], layout: Layout, plain: Sequence[bool]
    ) -> list[Callable[[], None]]:
        """Return the steps of networks that follow each other and learn alike."""
        first = self._trainings[numbers[0]]
        if plain[numbers[0]]:
            return [
                _Descent(
                    first.optimizer,
                    self._rows(numbers, self._parameters),
                    self._rows(numbers, self._gradients),
                )
            ]
        slots = [self._slots[name] for name in _names(first)]
        groups = first.optimizer.param_groups
        if len(groups) == 1:
            tensors = [
                [self._rows(numbers, t)] for t in (self._parameters, self._gradients, *slots)
            ]
            return [_FusedStep(first, groups[0], tensors, self._steps[numbers[0]])]
        steps: list[Callable[[], None]] = []
        for number in numbers:
            training = self._trainings[number]
            places = {id(p): i for i, p in enumerate(layout.parameters(training.model))}
            rows = [
                layout.split(tensor[number])
                for tensor in (self._parameters, self._gradients, *slots)
            ]
            for group in training.optimizer.param_groups:
                chosen = [places[id(parameter)] for parameter in group["params"]]
                tensors = [[row[place] for place in chosen] for row in rows]
                steps.append(_FusedStep(training, group, tensors, self._steps[number]))
        return steps

    @staticmethod
    def _rows(numbers: list[int], tensor: Tensor) -> Tensor:
        """Return the numbers of networks that follow each other, as one vector."""
        return tensor[numbers[0] : numbers[-1] + 1].view(-1)


def learns_as(training: "Training") -> tuple[str, ...]:
    """Return what decides the options of a network's optimizer at this and all later steps."""
    config, groups = training.config, training.optimizer.param_groups
    options = [{k: v for k, v in group.items() if k != "params"} for group in groups]
    taken = len(training.history) * training.num_batches + training.batch
    schedules = (config.scheduler, config.weight_decay_schedule, config.epochs, training.length)
    return (repr(config.optimizer), repr(options), repr(taken), repr(schedules))


@dataclass(frozen=True)
class _Descent:
    """Plain gradient descent of one network, or of several, in a stack where not all do it."""

    optimizer: torch.optim.Optimizer
    parameters: Tensor
    gradients: Tensor

    def __call__(self) -> None:
        self.parameters.add_(self.gradients.mul_(-self.optimizer.param_groups[0]["lr"]))


class _FusedStep:
    """A step of torch's fused kernel: lists of the parameters, their gradients and the slots."""

    def __init__(
        self,
        training: "Training",
        group: dict[str, Any],
        tensors: list[list[Tensor]],
        step: Tensor,
    ) -> None:
        self._group = group
        self._tensors = tensors
        self._steps = [step] * len(tensors[0])
        self._name = training.config.optimizer.name

    def __call__(self) -> None:
        group = self._group
        if self._name == "sgd":
            parameters, gradients, *buffers = self._tensors
            torch._fused_sgd_(
                parameters,
                gradients,
                buffers[0] if group["momentum"] else [],
                weight_decay=group["weight_decay"],
                momentum=group["momentum"],
                lr=group["lr"],
                dampening=group["dampening"],
                nesterov=group["nesterov"],
                maximize=False,
                is_first_step=False,
            )
            return
        fused = torch._fused_adam_ if self._name == "adam" else torch._fused_adamw_
        parameters, gradients, means, squares = self._tensors
        beta1, beta2 = group["betas"]
        fused(
            parameters,
            gradients,
            means,
            squares,
            [],
            self._steps,
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )


class _Average:
    """The moving average of one network in a row of its own."""

    def __init__(self, average: AveragedModel, row: Tensor, share: float, layout: Layout) -> None:
        self._average = average
        self._of = row
        self._share = share
        self._parameters = layout.parameters(cast(Any, average.module))
        self._row = layout.empty(1)[0]
        for parameter, view in zip(self._parameters, layout.split(self._row), strict=True):
            parameter.data = view.copy_(parameter.data)
        self._begins = int(average.n_averaged) == 0

    def move(self) -> None:
        if self._begins:
            self._row.copy_(self._of)
            self._begins = False
        else:
            self._row.lerp_(self._of, self._share)
        self._average.n_averaged.add_(1)

    def release(self) -> None:
        for parameter in self._parameters:
            parameter.data = parameter.data.clone()


def _names(training: "Training") -> tuple[str, ...]:
    """Return the names of the tensors that the optimizer keeps for each parameter."""
    optimizer = training.config.optimizer
    if optimizer.name == "sgd" and optimizer.momentum == 0:
        return ()
    return _SLOTS[optimizer.name]


def _slots(trainings: Sequence["Training"], layout: Layout) -> dict[str, Tensor]:
    """Return rows for all tensors that some network's optimizer keeps."""
    names = {name for training in trainings for name in _names(training)}
    return {name: layout.empty(len(trainings)) for name in sorted(names)}
