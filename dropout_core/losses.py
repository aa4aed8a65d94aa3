"""What training minimises.

Shapes: B rows of a batch, C classes or outputs.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from dropout_core.config import Task, TrainingConfig

Loss = Callable[[Tensor, Tensor], Tensor]
"""Outputs (B, C) and their targets -> the mean loss of the rows: ()."""


def training_loss(config: TrainingConfig, task: Task, *, targets: Tensor, num_outputs: int) -> Loss:
    """The loss that `config` describes, for training rows with these targets.

    Raises ValueError where the config does not go with the task.
    """
    weighs = config.class_weights is not None
    if task == "regression" and (weighs or config.label_smoothing):
        raise ValueError("class weights and label smoothing are of classifications alone")
    if not weighs and config.label_smoothing == 0.0:
        return F.mse_loss if task == "regression" else F.cross_entropy
    weights = _class_weights(config, targets, num_outputs)

    def loss(outputs: Tensor, given: Tensor) -> Tensor:
        # Divided by the rows, not by their weights: what a row adds is its own affair.
        return F.cross_entropy(
            outputs,
            given,
            weight=None if weights is None else weights.to(outputs.dtype),
            label_smoothing=config.label_smoothing,
            reduction="sum",
        ) / len(given)

    return loss


def value_and_gradient(loss: Loss, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and its gradient by the outputs (B, C). The common loss does without autograd."""
    if loss is F.cross_entropy:
        log_probabilities = outputs.log_softmax(dim=1)
        value = F.nll_loss(log_probabilities, targets)
        gradient = log_probabilities.exp_()  # softmax - one-hot, over the rows
        gradient.scatter_add_(1, targets[:, None], gradient.new_full((len(targets), 1), -1.0))
        return value, gradient.div_(len(targets))
    with torch.enable_grad():
        outputs = outputs.detach().requires_grad_()
        value = loss(outputs, targets)
        (gradient,) = torch.autograd.grad(value, outputs)
    return value.detach(), gradient


def _class_weights(config: TrainingConfig, targets: Tensor, num_classes: int) -> Tensor | None:
    """(C), or None where all weigh the same."""
    match config.class_weights:
        case None:
            return None
        case "balanced":
            counts = torch.bincount(targets, minlength=num_classes)
            # A class without rows has no row to weigh; its weight only has to be finite.
            return len(targets) / (num_classes * counts.clamp_min(1).double())
        case weights:
            if len(weights) != num_classes:
                raise ValueError(f"{len(weights)} class weights for {num_classes} classes")
            return torch.tensor(weights, dtype=torch.float64, device=targets.device)
