"""The learning-rate range test (Smith 2017, "Cyclical Learning Rates", section 3.3)."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dropout_core.config import Task, TrainingConfig
from dropout_core.nn.mlp import MLP
from dropout_core.seeds import generator
from dropout_core.training.fused_step import gradients_of
from dropout_core.training.layer_rates import parameter_groups
from dropout_core.training.losses import training_loss
from dropout_core.training.optimizers import build_optimizer
from dropout_core.training.training_data import TrainingData, check_arguments

_SMOOTHING = 0.9
_LEAST_STEPS = 10
_BLOWN_UP = 4.0  # times the lowest loss: the run has diverged


@dataclass(frozen=True)
class LearningRateCurve:
    """Smoothed training losses by learning rate, and the rate at which they fall fastest."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float


def find_learning_rate(
    model: MLP,
    data: TrainingData,
    config: TrainingConfig,
    *,
    task: Task,
    lowest: float = 1e-5,
    highest: float = 10.0,
    num_steps: int = 100,
) -> LearningRateCurve:
    """Train a copy of `model` with a rate that rises from `lowest` to `highest` geometrically.

    It stops early once the loss has diverged. Optimizer, clipping, loss and the proportions of the
    rates of layers are the config's; its schedules are not used. The model itself, its generator
    and torch's global one are left as they are, and the result is a function of the config's seed.
    Raises ValueError unless there are rows, 0 < lowest < highest < infinity, at least ten steps,
    and a finite first loss; InfeasibleError if the config's loss does not fit the task.
    """
    check_arguments(model, data, config, task=task)
    if not 0 < lowest < highest < math.inf:
        raise ValueError(f"rates have to rise from above 0, but got {lowest} to {highest}")
    if num_steps < _LEAST_STEPS:
        raise ValueError(f"{num_steps} steps are too few, give at least {_LEAST_STEPS}")
    features, targets = data.train_features, data.train_targets
    trial = copy.deepcopy(model).to(features.device).train()
    trial.use_bfloat16(config.precision == "bfloat16")
    trial.use_generator(generator(config.seed, "lr_finder", device=features.device))
    weights = data.train_weights
    weighted, num_outputs = weights is not None, trial.out_features
    loss = training_loss(config, task, targets=targets, num_outputs=num_outputs, weighted=weighted)
    gradients = gradients_of(trial, loss)
    optimizer = build_optimizer(parameter_groups(trial, config), config.optimizer)
    shares = [group["lr"] / config.optimizer.lr for group in optimizer.param_groups]
    rates: list[float] = []
    losses: list[float] = []
    average = 0.0
    for step, rows in enumerate(_batches(len(features), config, num_steps)):
        rate = lowest * (highest / lowest) ** (step / (num_steps - 1))
        for group, share in zip(optimizer.param_groups, shares, strict=True):
            group["lr"] = rate * share
        of_rows = () if weights is None else (weights[rows],)
        value = float(gradients(features[rows], targets[rows], *of_rows))
        average = _SMOOTHING * average + (1 - _SMOOTHING) * value
        smoothed = average / (1 - _SMOOTHING ** (step + 1))  # corrects for starting from 0
        if not math.isfinite(smoothed) or smoothed > _BLOWN_UP * min([smoothed, *losses]):
            break
        rates.append(rate)
        losses.append(smoothed)
        if config.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(trial.parameters(), config.max_grad_norm)
        optimizer.step()
        trial.constrain()
    if not losses:
        raise ValueError(f"the loss is {smoothed} before the first step")
    return LearningRateCurve(tuple(rates), tuple(losses), _steepest(rates, losses))


def _batches(num_rows: int, config: TrainingConfig, num_batches: int) -> Iterator[Tensor]:
    """Yield the row indices of full batches, shuffled anew whenever the rows are used up."""
    size = min(config.batch_size, num_rows)
    for index in range(num_batches):
        epoch, batch = divmod(index, num_rows // size)
        if batch == 0:
            order = torch.randperm(num_rows, generator=generator(config.seed, "lr_finder", epoch))
        yield order[batch * size : (batch + 1) * size]


def _steepest(rates: list[float], losses: list[float]) -> float:
    """Return the middle of the window before the minimum in which the loss falls most.

    The first window is not considered, since few losses are averaged there. If no other lies before
    the minimum, return a tenth of the minimum's rate, or the lowest rate if that is higher.
    """
    window = max(2, len(losses) // 10)
    lowest = losses.index(min(losses))
    falls = {
        start: losses[start] - losses[start + window]
        for start in range(window, lowest - window + 1)
    }
    if not falls:
        return max(rates[0], rates[lowest] / 10)
    return rates[max(falls, key=falls.__getitem__) + window // 2]
