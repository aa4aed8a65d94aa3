"""The losses that training minimises.

Shapes: B rows of a batch, C classes or outputs, T regression targets, Q quantiles of each.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from dropout_core.config import Task, TrainingConfig
from dropout_core.training.feasibility import check_loss

Loss = Callable[..., Tensor]
"""Outputs (B, C), their targets[, and the weights (B) of rows] -> the mean loss of the rows: ()."""


def _labels_cross_entropy(outputs: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
    targets = targets.to(outputs.dtype)
    return F.binary_cross_entropy_with_logits(outputs, targets, reduction=reduction)


_PLAIN: dict[Task, Loss] = {
    "binary": F.cross_entropy,
    "multiclass": F.cross_entropy,
    "multilabel": _labels_cross_entropy,
    "regression": F.mse_loss,
}


def plain_loss(task: Task) -> Loss:
    """Return the loss of a task without weights and smoothing, which validation reports.

    It is the cross-entropy of logits, of each label's logit, or the squared error. Shapes: outputs
    (B, C), targets (B) of class indices; multilabel both (B, C), targets 0 or 1; regression both
    (B, T) -> ().
    """
    return _PLAIN[task]


def pinball_loss(
    outputs: Tensor, targets: Tensor, *, levels: Tensor, reduction: str = "mean"
) -> Tensor:
    """Return the mean pinball loss of quantiles (Koenker and Bassett 1978): () or (B, T * Q).

    An output q for the level p of a target y costs p (y - q), or (1 - p) (q - y) if q is above y.
    Shapes: outputs (B, T * Q), those of a target following each other; targets (B, T); levels (Q).
    """
    levels = levels.to(outputs.dtype)
    error = targets[..., None] - outputs.reshape(*targets.shape, len(levels))
    loss = torch.maximum(levels * error, (levels - 1) * error).flatten(-2)
    return loss if reduction == "none" else loss.mean()


def _unweighted_loss(config: TrainingConfig, task: Task, *, device: torch.device) -> Loss:
    """Return the loss that `config` names, without weights of classes and rows, and smoothing."""
    if config.quantiles is not None:
        # Made once: a copy to a GPU would wait for it in every step.
        levels = torch.tensor(config.quantiles, dtype=torch.float64, device=device)
        return partial(pinball_loss, levels=levels)
    return F.l1_loss if config.loss == "absolute" else plain_loss(task)


def training_loss(
    config: TrainingConfig,
    task: Task,
    *,
    targets: Tensor,
    num_outputs: int,
    weighted: bool = False,
) -> Loss:
    """Return the loss that `config` describes, for training rows with these targets.

    A `weighted` loss takes the weights of the rows as its third argument. Raises InfeasibleError
    where the config does not fit the task.
    """
    check_loss(config, task=task, num_outputs=num_outputs)
    has_classes = task in ("binary", "multiclass")
    shaped = config.class_weights is not None or config.label_smoothing > 0.0
    plain = _unweighted_loss(config, task, device=targets.device)
    if not shaped and not weighted:
        return plain
    class_weights = class_weights_of(config, targets, num_outputs)

    def loss(outputs: Tensor, given: Tensor, weights: Tensor | None = None) -> Tensor:
        if has_classes:
            by_row = F.cross_entropy(
                outputs,
                given,
                weight=None if class_weights is None else class_weights.to(outputs.dtype),
                label_smoothing=config.label_smoothing,
                reduction="none",
            )
        else:
            by_row = plain(outputs, given, reduction="none").mean(dim=1)
        # Divided by the rows, not by the sum of weights: no row's part depends on other weights.
        return (by_row if weights is None else by_row * weights).sum() / len(given)

    return loss


def over_members(loss: Loss) -> Loss:
    """Return the mean of the members' losses against the same targets, for outputs (B, k, C)."""

    def of_members(outputs: Tensor, *given: Tensor) -> Tensor:
        repeated = for_each_member(outputs.shape[1], *given)
        return loss(outputs.transpose(0, 1).flatten(0, 1), *repeated)

    return of_members


def for_each_member(num_members: int, *of_rows: Tensor) -> list[Tensor]:
    """Repeat what rows have, such as targets, for each member: (B, *) -> (k B, *)."""
    return [tensor.repeat(num_members, *[1] * (tensor.dim() - 1)) for tensor in of_rows]


def value_and_gradient(
    loss: Loss, outputs: Tensor, targets: Tensor, *weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the loss and its gradient (B, C) by the outputs; cross-entropy without autograd."""
    if loss is F.cross_entropy and not weights:
        log_probabilities = outputs.log_softmax(dim=1)
        value = F.nll_loss(log_probabilities, targets)
        gradient = log_probabilities.exp_()  # softmax - one-hot, over the rows
        gradient.scatter_add_(1, targets[:, None], gradient.new_full((len(targets), 1), -1.0))
        return value, gradient.div_(len(targets))
    with torch.enable_grad():
        outputs = outputs.detach().requires_grad_()
        value = loss(outputs, targets, *weights)
        (gradient,) = torch.autograd.grad(value, outputs)
    return value.detach(), gradient


def class_weights_of(config: TrainingConfig, targets: Tensor, num_classes: int) -> Tensor | None:
    """Return the weight of each class, (C), or None where all are equal."""
    match config.class_weights:
        case None:
            return None
        case "balanced":
            counts = torch.bincount(targets, minlength=num_classes)
            # The weight of a class without rows is not used; it only has to be finite.
            return len(targets) / (num_classes * counts.clamp_min(1).double())
        case weights:
            return torch.tensor(weights, dtype=torch.float64, device=targets.device)
