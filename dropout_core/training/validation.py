"""The validation of a network during training: its plain loss, one score, and what is monitored.

Shapes: N rows, F features, C classes, L labels, T regression targets.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dropout_core.config import Monitor, Task
from dropout_core.nn.quantiles import medians
from dropout_core.training.class_scores import scores_of_classes
from dropout_core.training.losses import plain_loss

BATCH_SIZE = 8192


@torch.inference_mode()
def outputs_of(network: nn.Module, features: Tensor) -> Tensor:
    """Return the outputs of all rows: (N, F) -> (N, C); leave `network` in eval mode."""
    network.eval()
    return torch.cat([network(part) for part in torch.split(features, BATCH_SIZE)])


def validate(
    outputs: Tensor, targets: Tensor, *, task: Task, quantiles: Sequence[float] | None = None
) -> tuple[float, float]:
    """Return the plain loss and `validation_score` of all rows.

    Shapes: as of `validation_score`; with `quantiles` (Q) the outputs are (N, T * Q), and those
    nearest to the median count.
    """
    if quantiles is not None:
        outputs = medians(outputs, quantiles)
    loss = float(plain_loss(task)(outputs, targets))
    return loss, validation_score(outputs, targets, task=task)


def monitored_metric(
    outputs: Tensor,
    targets: Tensor,
    *,
    task: Task,
    monitor: Monitor,
    quantiles: Sequence[float] | None = None,
) -> float | None:
    """Return a metric of the task as an evaluation defines it, None where it is undefined.

    `mae` is the mean over the targets as the network is trained towards them, which a pipeline
    standardises. Shapes: as of `validate`.
    """
    if quantiles is not None:
        outputs = medians(outputs, quantiles)
    if monitor in ("accuracy", "r2"):
        return validation_score(outputs, targets, task=task)
    if monitor == "mae":
        return float((outputs.double() - targets.double()).abs().mean())
    probabilities = outputs.double().softmax(dim=1).cpu()
    _, of_all = scores_of_classes(
        lambda i: probabilities[:, i],
        probabilities.argmax(dim=1),
        targets.cpu(),
        names=range(outputs.shape[1]),
    )
    return of_all[monitor]


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
