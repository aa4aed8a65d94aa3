"""Temperature scaling: logits are divided by one number that held-out rows choose.

It changes no decision, only how sure the probabilities are. Shapes: N rows, C classes or labels.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from dropout_core.config import Task

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0
_NUM_HALVINGS = 40  # of the range's logarithm: below the rounding of float32


def fit_temperature(logits: Tensor, targets: Tensor, *, task: Task) -> float:
    """Return the temperature that minimises the log loss of these rows.

    Each row's target gives 1 / (N + 1) of its weight to all classes evenly, as in Platt 1999,
    section 2.2: otherwise a few rows that are all right would ask for certainty. The temperature is
    1, which changes nothing, if no other lowers the plain log loss or if a logit is not finite.

    Shape: logits (N, C) and class indices (N); multilabel both (N, C), targets 0 or 1. Guo et al.
    2017, section 4.2.
    """
    if len(logits) == 0 or not logits.isfinite().all():
        return 1.0
    logits = logits.double()
    if task == "multilabel":  # the softmax of 0 and x is the sigmoid of x
        pairs = torch.stack([torch.zeros_like(logits), logits], dim=2)
        num_rows = len(logits)
        logits, targets = pairs.flatten(0, 1), targets.flatten().long()
    else:
        num_rows = len(logits)
    logits = logits - logits.amax(dim=1, keepdim=True)
    smoothing = 1 / (num_rows + 1)
    of_target = logits.gather(1, targets[:, None])[:, 0]
    aim = float(((1 - smoothing) * of_target + smoothing * logits.mean(dim=1)).mean())
    # The loss is convex in 1 / temperature, so its derivative there changes sign only once.
    low, high = (torch.tensor(bound).double().log() for bound in (MIN_TEMPERATURE, MAX_TEMPERATURE))
    for _ in range(_NUM_HALVINGS):
        middle = (low + high) / 2
        probabilities = (logits / middle.exp()).softmax(dim=1)
        is_too_sure = float((probabilities * logits).sum(dim=1).mean()) > aim
        low, high = (middle, high) if is_too_sure else (low, middle)
    temperature = float(((low + high) / 2).exp())
    before, after = (F.cross_entropy(logits / t, targets) for t in (1.0, temperature))
    return temperature if after < before else 1.0
