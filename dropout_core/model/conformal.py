"""Split-conformal predictions: sets of classes and intervals that contain the truth at a level.

Rows that the network was not trained on say how far the truth was from its predictions: their
scores. A new row's set has every class, and its interval every value, whose score is among the
lowest scores up to the level. If the new row is drawn as those rows were, the truth is in there
with at least that probability, whatever the network and the data (Vovk, Gammerman and Shafer 2005;
Lei et al. 2018, theorem 2.2).

Shapes: N rows, C classes, T regression targets, Q quantiles of each (1 without quantiles), P pairs
of quantiles, M kept scores, S columns of scores: 1 for classes, T * P for values.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

MAX_SCORES = 10_000
_MAX_NUMBERS = 1_000_000  # in all columns together
_LARGEST = torch.finfo(torch.float64).max


class LevelError(ValueError):
    """The model cannot give sets or intervals at this level; the message says why."""


def class_scores(probabilities: Tensor, targets: Tensor) -> Tensor:
    """Return 1 - the probability of the true class: (N, C), (N) -> (N, 1).

    Sadinle, Lei and Wasserman 2019, "Least Ambiguous Set-Valued Classifiers".
    """
    return 1 - probabilities.double().gather(1, targets[:, None])


def value_scores(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return how far the targets are outside of each pair of quantiles: (N, T * Q), (N, T) -> S.

    Negative inside. For a single quantile or value it is the distance of the target from it (Lei et
    al. 2018). Romano, Patterson and Candes 2019, "Conformalized Quantile Regression". -> (N, S)
    """
    lower, upper = _pairs(outputs.double(), num_targets=targets.shape[1])
    of_targets = targets.double()[:, :, None]
    return torch.maximum(lower - of_targets, of_targets - upper).flatten(1)


def kept_scores(scores: Tensor) -> Tensor:
    """Return each column's scores, sorted; if there are too many, some of them: (N, S) -> (M, S).

    The M kept ones are so spaced that the ranks of `Conformal` among them are not lower than among
    all. A score that is not a number counts as infinite.
    """
    num_rows, num_columns = scores.shape
    ordered = scores.double().nan_to_num(nan=math.inf, posinf=math.inf).sort(dim=0).values
    num_kept = min(MAX_SCORES, max(1, _MAX_NUMBERS // num_columns))
    if num_rows <= num_kept:
        return ordered
    numbers = torch.arange(1, num_kept + 1)
    ranks = -(-numbers * (num_rows + 1) // (num_kept + 1))  # rounded up
    return ordered[ranks - 1]


def num_scores_needed(level: float) -> int:
    """Return how few scores are enough for a level: the rank of the bound is then one of them."""
    return math.ceil(1 / (1 - Fraction(str(level)))) - 1


class Conformal:
    """The sets or intervals of one model at one level.

    `scores` (M, S) are sorted. `quantiles` are the levels that the model predicts, None if it
    predicts single values or classes. Raises ValueError unless the level is above 0 and below 1,
    and LevelError if there are too few scores for it.
    """

    def __init__(
        self, scores: Tensor, *, level: float, quantiles: Sequence[float] | None = None
    ) -> None:
        if not 0 < level < 1:
            raise ValueError(f"a level is above 0 and below 1, and {level} is not")
        self.level = level
        num_scores = len(scores)
        rank = math.ceil(Fraction(str(level)) * (num_scores + 1))
        if rank > num_scores:
            raise LevelError(
                f"the level {level} needs the scores of {num_scores_needed(level)} validation rows,"
                f" and the model has {num_scores}: ask for a lower level, or train with more"
                " validation rows"
            )
        self._bounds = scores[rank - 1]
        self._quantiles = quantiles

    def contains(self, probabilities: Tensor) -> Tensor:
        """Return which classes are in each row's set, possibly none: (N, C) -> (N, C) bool."""
        return 1 - probabilities.double() <= self._bounds

    def intervals(self, outputs: Tensor) -> Tensor:
        """Return the lower and the upper end for each target: (N, T * Q) -> (N, T, 2).

        Of several pairs of quantiles, the one whose own level is nearest to this level is widened
        or narrowed. Bounds beyond the range of float64 are its largest numbers.
        """
        num_quantiles = len(self._quantiles or (0.5,))
        lower, upper = _pairs(outputs.double(), num_targets=outputs.shape[1] // num_quantiles)
        chosen = self._pair()
        bounds = self._bounds.view(lower.shape[1:])[:, chosen]
        ends = torch.stack([lower[..., chosen] - bounds, upper[..., chosen] + bounds], dim=2)
        # An interval that was narrowed to nothing is a point.
        crossed = ends[..., 0] > ends[..., 1]
        middle = (0.5 * ends[..., 0] + 0.5 * ends[..., 1])[..., None]
        return torch.where(crossed[..., None], middle, ends).clamp(-_LARGEST, _LARGEST)

    def _pair(self) -> int:
        """Return the number of the pair of quantiles whose level is nearest, the wider of two."""
        quantiles = self._quantiles or (0.5,)
        levels = [
            quantiles[-1 - number] - quantiles[number] for number in range(num_pairs(quantiles))
        ]
        return min(range(len(levels)), key=lambda number: abs(levels[number] - self.level))


def num_pairs(quantiles: Sequence[float] | None) -> int:
    """Return the number of pairs: the outermost quantiles, the next, ...; one of a single value."""
    return max(1, len(quantiles or ()) // 2)


def _pairs(outputs: Tensor, *, num_targets: int) -> tuple[Tensor, Tensor]:
    """Return the lower and upper quantiles, outermost first: (N, T * Q) -> two (N, T, P)."""
    num_quantiles = outputs.shape[1] // num_targets
    by_target = outputs.reshape(len(outputs), num_targets, num_quantiles)
    number = max(1, num_quantiles // 2)
    return by_target[..., :number], by_target.flip(2)[..., :number]
