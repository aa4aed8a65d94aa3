"""Build torch's optimizer and its learning-rate scheduler, stepped after every batch."""

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from dropout_core.config import (
    CosineConfig,
    Coslog4Config,
    FlatCosineConfig,
    LinearConfig,
    OneCycleConfig,
    Optimizer,
    Scheduler,
    StepConfig,
)


def _without_compiler(
    optimizer: type[torch.optim.Optimizer],
) -> Callable[..., torch.optim.Optimizer]:
    """Return the optimizer without what torch wraps around its methods for `torch.compile`.

    The wrappers import the compiler with the first optimizer, which takes a second and 100 MB.
    """
    names = ("add_param_group", "load_state_dict", "state_dict", "step", "zero_grad")
    methods = {name: inspect.unwrap(getattr(optimizer, name)) for name in names}
    methods["step"] = torch.no_grad()(methods["step"])
    return type(optimizer.__name__, (optimizer,), methods)


_OPTIMIZERS = {
    "sgd": _without_compiler(torch.optim.SGD),
    "adam": _without_compiler(torch.optim.Adam),
    "adamw": _without_compiler(torch.optim.AdamW),
}

STATE_TENSORS = {"sgd": 1, "adam": 2, "adamw": 2}
"""Tensors that an optimizer keeps for each parameter."""

ParameterGroups = Iterable[nn.Parameter] | Iterable[dict[str, Any]]
"""Parameters, or groups of them with options that replace those of the config."""


def build_optimizer(parameters: ParameterGroups, config: Optimizer) -> torch.optim.Optimizer:
    """Build the optimizer that `config` names, with torch's fused step."""
    arguments = config.model_dump(exclude={"name"})
    return _OPTIMIZERS[config.name](parameters, fused=True, **arguments)


def build_scheduler(
    optimizer: torch.optim.Optimizer,
    config: Scheduler | None,
    *,
    num_epochs: int,
    num_batches: int,
) -> lr_scheduler.LRScheduler | None:
    """Build the scheduler that `config` names for `num_epochs` of `num_batches` steps each.

    `coslog4` and `flat_cosine` take their value in the middle of a step, at the share
    (step + 0.5) / steps of the run, so that no step is without effect.
    """
    num_steps = num_epochs * num_batches
    match config:
        case None:
            return None
        case StepConfig():
            return lr_scheduler.StepLR(optimizer, config.step_size * num_batches, config.gamma)
        case CosineConfig():
            return lr_scheduler.CosineAnnealingLR(optimizer, num_steps, eta_min=config.min_lr)
        case LinearConfig():
            return lr_scheduler.LinearLR(
                optimizer, config.start_factor, config.end_factor, total_iters=num_steps
            )
        case OneCycleConfig():
            base_lr = optimizer.defaults["lr"]
            # Torch divides by zero if the warm-up is exactly one step.
            stretch = 1 + 1e-9 if config.warmup * num_steps == 1 else 1
            # `cycle_momentum` is off: the optimizer's config sets the momentum.
            return lr_scheduler.OneCycleLR(
                optimizer,
                # The peak of a group is in proportion to its learning rate.
                [config.max_lr * (group["lr"] / base_lr) for group in optimizer.param_groups],
                total_steps=num_steps,
                pct_start=config.warmup * stretch,
                cycle_momentum=False,
            )
        case Coslog4Config():
            return lr_scheduler.LambdaLR(optimizer, lambda i: coslog4(middle(i, num_steps)))
        case FlatCosineConfig():
            flat = config.flat
            return lr_scheduler.LambdaLR(
                optimizer, lambda i: flat_cosine(middle(i, num_steps), flat=flat)
            )


def middle(step: int, num_steps: int) -> float:
    """Return the share of the run that has passed in the middle of a step, counted from 0."""
    return min((step + 0.5) / num_steps, 1.0)


def coslog4(share: float) -> float:
    """Return the factor of `Coslog4Config` at a share of the run: between 0 and 1."""
    return (1 - math.cos(2 * math.pi * math.log2(1 + 15 * share))) / 2


def flat_cosine(share: float, *, flat: float) -> float:
    """Return the factor of `FlatCosineConfig` at a share of the run: 1 until `flat`, 0 at 1."""
    if share <= flat:
        return 1.0
    return (1 + math.cos(math.pi * (share - flat) / (1 - flat))) / 2
