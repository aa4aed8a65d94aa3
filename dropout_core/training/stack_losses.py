"""The losses of a stack: their values and gradients for all networks at once.

The operations give each element the same bits wherever it is in a tensor. torch's sigmoid does not,
for instance: it computes the rest of a tensor that fills no vector in another way.

Shapes: n networks, B rows of a batch, C outputs, L labels, T targets, Q quantiles of each.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from dropout_core.config import Task, TrainingConfig
from dropout_core.training.losses import class_weights_of

Targets = tuple[Tensor, ...]
"""What a loss needs of the batches, each (*, n, B, ...)."""


class StackLoss(Protocol):
    """The loss of each network."""

    def prepare(self, targets: Tensor, weights: Tensor | None) -> Targets:
        """Return what `step` needs, for targets (*, n, B) or (*, n, B, T) and weights (*, n, B)."""
        ...

    def step(self, outputs: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
        """Return the losses (n) and the gradients by the outputs (n, B, C), which may be reused."""
        ...


def stack_loss(
    configs: Sequence[TrainingConfig],
    task: Task,
    *,
    targets: Sequence[Tensor],
    num_outputs: int,
    dtype: torch.dtype,
) -> StackLoss:
    """Return the loss that the networks' configs describe, for training rows with these targets.

    The configs agree on the loss of a regression and its quantiles.
    """
    first = configs[0]
    if task == "multilabel":
        return _LabelsCrossEntropy()
    if task != "regression":
        return _CrossEntropy(configs, targets=targets, num_outputs=num_outputs, dtype=dtype)
    if first.quantiles is not None:
        return _Pinball(torch.tensor(first.quantiles, dtype=dtype))
    if first.loss == "absolute":
        return _Pinball(torch.tensor([0.5], dtype=dtype), factor=2.0)
    return _Squared()


class _CrossEntropy:
    """Of classes: a network has weights of classes and label smoothing of its own."""

    def __init__(
        self,
        configs: Sequence[TrainingConfig],
        *,
        targets: Sequence[Tensor],
        num_outputs: int,
        dtype: torch.dtype,
    ) -> None:
        ones = torch.ones(num_outputs, dtype=torch.float64)
        weights = [
            class_weights_of(config, given, num_outputs)
            for config, given in zip(configs, targets, strict=True)
        ]
        of_classes = torch.stack([ones if w is None else w for w in weights])
        smoothing = torch.tensor(
            [[config.label_smoothing] for config in configs], dtype=torch.float64
        )
        self._is_weighted = any(w is not None for w in weights)
        self._is_smoothed = any(config.label_smoothing > 0 for config in configs)
        self._at_target = ((1 - smoothing) * of_classes).to(dtype)  # (n, C)
        self._everywhere = (smoothing / num_outputs * of_classes).to(dtype)

    def prepare(self, targets: Tensor, weights: Tensor | None) -> Targets:
        shape = (*targets.shape, self._at_target.shape[1])
        wanted = self._everywhere[:, None].expand(shape).clone()
        at_target = self._at_target[:, :1].expand(targets.shape)
        if self._is_weighted:
            table = self._at_target[:, None].expand(shape)
            at_target = table.gather(-1, targets[..., None])[..., 0]
        wanted.scatter_add_(-1, targets[..., None], at_target[..., None])
        if weights is not None:
            wanted.mul_(weights.to(wanted.dtype)[..., None])
        if weights is None and not self._is_weighted and not self._is_smoothed:
            return (wanted,)
        return wanted, wanted.sum(dim=-1, keepdim=True)

    def step(self, outputs: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
        return _cross_entropy(outputs, *targets)


class _LabelsCrossEntropy:
    """Of labels: that of two classes for each, whose outputs are the logit and zero."""

    def prepare(self, targets: Tensor, weights: Tensor | None) -> Targets:
        wanted = torch.stack([targets, 1 - targets], dim=-1).div_(targets.shape[-1])
        if weights is not None:
            wanted.mul_(weights.to(wanted.dtype)[..., None, None])
        return wanted, wanted.sum(dim=-1, keepdim=True)

    def step(self, outputs: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
        pairs = torch.stack([outputs, torch.zeros_like(outputs)], dim=-1)
        losses, gradients = _cross_entropy(pairs, *targets)
        return losses, gradients[..., 0].contiguous()


def _cross_entropy(
    outputs: Tensor, wanted: Tensor, total: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Take outputs (n, B, *, C), the wanted share of each class, and their total if it is not 1."""
    share = 1.0 / outputs.shape[1]
    log_probabilities = outputs.log_softmax(dim=-1)
    losses = (wanted * log_probabilities).flatten(1).sum(dim=1).mul_(-share)
    gradients = log_probabilities.exp_()
    if total is not None:
        gradients.mul_(total)
    return losses, gradients.sub_(wanted).mul_(share)


class _Squared:
    def prepare(self, targets: Tensor, weights: Tensor | None) -> Targets:
        if weights is None:
            return (targets,)
        return targets, weights.to(targets.dtype)[..., None]

    def step(self, outputs: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
        error = outputs.sub_(targets[0])
        share = 1.0 / error[0].numel()
        weighted = error if len(targets) == 1 else error * targets[1]
        losses = (weighted * error).flatten(1).sum(dim=1).mul_(share)
        return losses, weighted.mul_(2 * share)


class _Pinball:
    """Of quantiles at `levels` (Q), times `factor`. The median, times 2, is the absolute error."""

    def __init__(self, levels: Tensor, *, factor: float = 1.0) -> None:
        self._levels = levels
        self._factor = factor

    def prepare(self, targets: Tensor, weights: Tensor | None) -> Targets:
        repeated = targets.repeat_interleave(len(self._levels), dim=-1)
        slope = self._levels.sub(0.5).repeat(targets.shape[-1]).expand(repeated.shape)
        if weights is None:
            return repeated, slope
        return repeated, slope, weights.to(targets.dtype)[..., None]

    def step(self, outputs: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
        wanted, slope, *weights = targets
        error = wanted - outputs
        share = self._factor / error[0].numel()
        # With s the sign of the error e, the loss is (p - 0.5 + 0.5 s) e.
        slopes = error.sign().mul_(0.5).add_(slope)
        if weights:
            slopes.mul_(weights[0])
        losses = (slopes * error).flatten(1).sum(dim=1).mul_(share)
        return losses, slopes.mul_(-share)
