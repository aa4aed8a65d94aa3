"""Permutation importance: how much worse a model gets if a feature is shuffled between rows.

Breiman 2001, "Random Forests", section 10; Fisher et al. 2019, "All Models are Wrong, but Many are
Useful", section 3.

Shapes: N rows, M columns of the matrix.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dropout_core.seeds import generator


@dataclass(frozen=True)
class Importance:
    """How much a metric gets worse if a feature is shuffled, in the metric's units.

    `mean` and `standard_deviation` are taken over the repeats. A mean of about zero or less means
    that the model does not use the feature on these rows.
    """

    feature: str
    mean: float
    standard_deviation: float


def permutation_importance(
    outputs: Callable[[Tensor], Tensor],
    matrix: Tensor,
    *,
    groups: Mapping[str, Sequence[int]],
    score: Callable[[Tensor], float | None],
    baseline: float,
    higher_is_better: bool,
    num_repeats: int,
    seed: int,
) -> list[Importance]:
    """Measure the importance of each feature; return the greatest first.

    `outputs` is a model of a matrix (N, M). `groups` maps a feature to its column indices, which
    are shuffled together. `score` turns the model's outputs into a metric, which is `baseline`
    without shuffling. A permutation is a function of the seed, the feature's name and the repeat
    alone. The matrix is not changed. Raises ValueError if `num_repeats` < 1, or if the metric is
    undefined for shuffled rows.
    """
    if num_repeats < 1:
        raise ValueError(f"an importance needs at least 1 repeat, but got {num_repeats}")
    sign = 1.0 if higher_is_better else -1.0

    def importance(feature: str, columns: Sequence[int]) -> Importance:
        chosen = torch.tensor(columns, dtype=torch.int64, device=matrix.device)
        shuffled = matrix.clone()
        losses = torch.empty(num_repeats, dtype=torch.float64)
        for repeat in range(num_repeats):
            stream = generator(seed, "importance", feature, repeat)
            order = torch.randperm(len(matrix), generator=stream).to(matrix.device)
            shuffled[:, chosen] = matrix[order[:, None], chosen]
            value = score(outputs(shuffled))
            if value is None:
                raise ValueError("the metric is undefined for shuffled rows")
            losses[repeat] = sign * (baseline - value)
        return Importance(feature, float(losses.mean()), float(losses.std(correction=0)))

    importances = [importance(feature, columns) for feature, columns in groups.items()]
    return sorted(importances, key=lambda one: one.mean, reverse=True)
