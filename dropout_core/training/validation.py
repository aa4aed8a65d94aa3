"""The validation of a network during training: its plain loss, and one score.

Shapes: N rows, F features, C classes, L labels, T regression targets.
"""

import torch
from torch import Tensor, nn

from dropout_core.config import Task
from dropout_core.training.losses import plain_loss

BATCH_SIZE = 8192


@torch.inference_mode()
def validate(
    network: nn.Module, features: Tensor, targets: Tensor, *, task: Task
) -> tuple[float, float]:
    """Return the plain loss and `validation_score` of all rows; leave `network` in eval mode.

    Shapes: features (N, F), targets as of `validation_score`.
    """
    network.eval()
    outputs = torch.cat([network(part) for part in torch.split(features, BATCH_SIZE)])
    loss = float(plain_loss(task)(outputs, targets))
    return loss, validation_score(outputs, targets, task=task)


def validation_score(outputs: Tensor, targets: Tensor, *, task: Task) -> float:
    """Return the accuracy, the mean accuracy of the labels, or the mean R2 of the targets.

    Shapes: outputs (N, C) are logits, targets (N) class indices; multilabel both (N, L), targets 0
    or 1; regression both (N, T).
    """
    if task == "regression":
        return float(r2(outputs.double(), targets.double()).mean())
    if task == "multilabel":
        return float(((outputs > 0) == targets.bool()).double().mean())
    return float((outputs.argmax(dim=1) == targets).double().mean())


def r2(values: Tensor, targets: Tensor) -> Tensor:
    """Return the share of each target's variance that is explained: (N, T) and (N, T) -> (T).

    For a target that does not vary it is 1 if every value is right, and 0 otherwise.
    """
    total = (targets - targets.mean(dim=0)).square().sum(dim=0)
    residual = (targets - values).square().sum(dim=0)
    # The mean of equal numbers may round to another number, which makes `total` larger than it is.
    varies = (targets != targets[:1]).any(dim=0) & (total > 0)
    return torch.where(varies, 1 - residual / total, (residual == 0).to(total.dtype))
