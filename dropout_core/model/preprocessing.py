"""Imputation and scaling of features before the first layer, as modules of the model.

Shapes: N rows, V values, K categorical features, I values with an indicator, Q quantiles.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from dropout_core.config import PreprocessingConfig

NUM_QUANTILES = 257
MAX_PIXEL = 255.0
ROBUST_BOUND = 3.0
ROBUST_LIMIT = 1e9  # float32 rounds what is farther out to the bound, too
_CHUNK_ROWS = 65_536
_BLOCK_COLUMNS = 16

LinearKind = Literal["standard", "minmax", "pixels", "unit", "none"]


class Preprocessing(nn.Module):
    """Impute and scale the values and add indicators of missing ones; pass category codes on.

    Values are scaled in float64, so that large ones keep their differences. `indicated` are the
    column indices of the values that have an indicator, an input that is 1 where they are missing.
    `only_numbers` says that no value is a boolean, a part of a date or a word count. Shape:
    (N, V + K) float64, NaN where a value is missing -> (N, V + I + K) float32.
    """

    fill: Tensor
    indicated: Tensor

    def __init__(
        self,
        config: PreprocessingConfig,
        *,
        num_values: int,
        num_codes: int = 0,
        indicated: Sequence[int] = (),
        only_numbers: bool = True,
    ) -> None:
        super().__init__()
        self.num_values = num_values
        self._may_be_image = only_numbers
        self.num_codes = num_codes
        self._impute = config.impute
        self.register_buffer("fill", torch.zeros(num_values, dtype=torch.float64))
        self.register_buffer("indicated", torch.tensor(indicated, dtype=torch.int64))
        self.scale = _scale(config, num_values)

    @property
    def out_features(self) -> int:
        return self.num_values + len(self.indicated) + self.num_codes

    def fit(self, matrix: Tensor, weights: Tensor | None = None) -> None:
        """Fit fill values and scales to training rows: (N, V + K), as their weights (N) count."""
        if isinstance(self.scale, LinearScale) and self.scale.kind == "unit":
            are_pixels = self._may_be_image and self._are_pixels(matrix, weights)
            self.scale.kind = "pixels" if are_pixels else "minmax"
        for column, known, known_weights in self._known(matrix, weights):
            self.fill[column] = (
                quantiles(known, [0.5], known_weights)[0]
                if self._impute == "median"
                else mean_and_scale(known, known_weights)[0]
            )
            self.scale.fit(column, known, known_weights)

    def _are_pixels(self, matrix: Tensor, weights: Tensor | None) -> bool:
        """Return whether all known values are whole numbers from 0 to 255, some above 127."""
        largest = 0.0
        for _, known, _ in self._known(matrix, weights):
            low, high = map(float, known.aminmax())
            if low < 0 or high > MAX_PIXEL or (known != known.round()).any():
                return False
            largest = max(largest, high)
        return largest > MAX_PIXEL / 2

    def quantiles(
        self, matrix: Tensor, num_quantiles: int, weights: Tensor | None = None
    ) -> Tensor:
        """Return evenly spaced quantiles of the known values of training rows, scaled.

        Shape: (N, V + K), weights (N) -> (Q, V) float32. The first and the last are the smallest
        and the largest value.
        """
        found = torch.empty(num_quantiles, self.num_values, dtype=torch.float64)
        levels = [index / (num_quantiles - 1) for index in range(num_quantiles)]
        for column, known, known_weights in self._known(matrix, weights):
            found[:, column] = quantiles(known, levels, known_weights)
        scaled: Tensor = self.scale(found)
        return scaled.float()

    def _known(
        self, matrix: Tensor, weights: Tensor | None
    ) -> Iterator[tuple[int, Tensor, Tensor | None]]:
        """Yield each column's index, its known values and their weights; a zero if none is known.

        A few columns at a time are copied: a column of the matrix has gaps between its values.
        """
        for start in range(0, self.num_values, _BLOCK_COLUMNS):
            block = matrix[:, start : min(start + _BLOCK_COLUMNS, self.num_values)].t().contiguous()
            for column, values in enumerate(block, start):
                is_known = ~values.isnan()
                if weights is not None:
                    is_known &= weights > 0
                if is_known.all():
                    yield column, values, None if weights is None else weights.double()
                elif is_known.any():
                    known_weights = None if weights is None else weights[is_known].double()
                    yield column, values[is_known], known_weights
                else:
                    yield column, values.new_zeros(1), None

    def forward(self, matrix: Tensor) -> Tensor:
        values = matrix[:, : self.num_values]
        missing = values.isnan()
        scaled: Tensor = self.scale(torch.where(missing, self.fill, values)).float()
        if self.out_features == self.num_values:
            return scaled
        indicators = missing[:, self.indicated].float()
        return torch.cat([scaled, indicators, matrix[:, self.num_values :].float()], dim=1)

    def in_chunks(self, matrix: Tensor) -> Tensor:
        """Compute `forward` a chunk of rows at a time, in little memory besides the result."""
        result = torch.empty(len(matrix), self.out_features)
        for start in range(0, len(matrix), _CHUNK_ROWS):
            result[start : start + _CHUNK_ROWS] = self(matrix[start : start + _CHUNK_ROWS])
        return result


class LinearScale(nn.Module):
    """Subtract `mean` and divide by `deviation`: (N, V) -> (N, V).

    `standard` has mean 0 and variance 1 then, `minmax` lies between 0 and 1, `pixels` are divided
    by 255, and `none` stays as it is. `unit` has to become `pixels` or `minmax` before the fit. A
    constant column is divided by 1.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, num_values: int, kind: LinearKind = "standard") -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("mean", torch.zeros(num_values, dtype=torch.float64))
        self.register_buffer("deviation", torch.ones(num_values, dtype=torch.float64))

    def fit(self, column: int, values: Tensor, weights: Tensor | None = None) -> None:
        """Fit a column to its known values: (N), as their weights (N) count."""
        match self.kind:
            case "standard":
                self.mean[column], self.deviation[column] = mean_and_scale(values, weights)
            case "minmax":
                low, high = values.aminmax()
                varies = _mean_spread_varies(values, weights)[2]
                extent = (high - low).clamp_max(torch.finfo(torch.float64).max)
                self.mean[column] = low
                self.deviation[column] = extent if varies else extent.clamp_min(1.0)
            case "pixels":
                self.deviation[column] = MAX_PIXEL

    def forward(self, values: Tensor) -> Tensor:
        return standardise(values, self.mean, self.deviation)

    def unscale(self, scaled: Tensor) -> Tensor:
        """Return values that scale to about `scaled`: (N, V) -> (N, V)."""
        return scaled * self.deviation + self.mean


class RobustScale(nn.Module):
    """Subtract `median`, divide by `spread`, and bound smoothly to [-3, 3]: (N, V) -> (N, V).

    The bounds are those of x / sqrt(1 + (x / 3)^2). The spread is the interquartile range or, if
    that is 0, half of the range. A constant column is divided by 1. Holzmueller et al. 2024,
    section 3.
    """

    median: Tensor
    spread: Tensor

    def __init__(self, num_values: int) -> None:
        super().__init__()
        self.register_buffer("median", torch.zeros(num_values, dtype=torch.float64))
        self.register_buffer("spread", torch.ones(num_values, dtype=torch.float64))

    def fit(self, column: int, values: Tensor, weights: Tensor | None = None) -> None:
        """Fit a column to its known values: (N), as their weights (N) count."""
        low, middle, high = quantiles(values, [0.25, 0.5, 0.75], weights)
        numbers = torch.finfo(torch.float64)
        # Of the quartiles: a few values far out say nothing of the rounding of the others.
        rounding = 4 * numbers.eps * torch.maximum(low.abs(), high.abs()) + 2 * numbers.tiny
        half = 0.5 * high - 0.5 * low  # of the range between them, which might overflow
        if half > rounding:
            spread = 2 * half.clamp_max(numbers.max / 2)
        else:
            least, most = values.aminmax()
            spread = 0.5 * most - 0.5 * least
        varies = _mean_spread_varies(values, weights)[2]
        self.median[column] = middle
        self.spread[column] = spread if varies else spread.clamp_min(1.0)

    def forward(self, values: Tensor) -> Tensor:
        # So far out the bound is reached, and the square would overflow farther out.
        x = standardise(values, self.median, self.spread).clamp_(-ROBUST_LIMIT, ROBUST_LIMIT)
        return x / (1 + (x / ROBUST_BOUND).square()).sqrt()

    def unscale(self, scaled: Tensor) -> Tensor:
        """Return values that scale to about `scaled`: (N, V) -> (N, V)."""
        within = scaled.clamp(-0.99 * ROBUST_BOUND, 0.99 * ROBUST_BOUND)
        return within / (1 - (within / ROBUST_BOUND).square()).sqrt() * self.spread + self.median


class QuantileScale(nn.Module):
    """Map to a normal distribution by the ranks of the training rows (Bolstad et al. 2003).

    A value's rank is interpolated between two quantiles; if it equals several, it is their middle.
    Values outside all quantiles have the rank of the outermost. Shape: (N, V) -> (N, V).
    """

    quantiles: Tensor
    scores: Tensor

    def __init__(self, num_values: int) -> None:
        super().__init__()
        self.register_buffer(
            "quantiles", torch.zeros(num_values, NUM_QUANTILES, dtype=torch.float64)
        )
        levels = torch.linspace(0, 1, NUM_QUANTILES, dtype=torch.float64)
        half = 0.5 / (NUM_QUANTILES - 1)  # the outermost quantiles stand for half a step
        scores = torch.special.ndtri(levels.clamp(half, 1 - half))
        self.register_buffer("scores", scores)

    def fit(self, column: int, values: Tensor, weights: Tensor | None = None) -> None:
        """Fit a column to its known values: (N), as their weights (N) count.

        Values about a constant score their distance from it, as in other scales.
        """
        mean, spread, varies = _mean_spread_varies(values, weights)
        if not varies:
            self.quantiles[column] = mean + self.scores * spread.clamp_min(1.0)
            return
        ordered, order = values.sort()
        levels = torch.linspace(0, len(ordered) - 1, NUM_QUANTILES, dtype=torch.float64)
        if weights is not None:
            levels = _weighted_levels(levels, weights[order])
        low, high = ordered[levels.floor().long()], ordered[levels.ceil().long()]
        share = levels - levels.floor()
        # Unlike high - low, the two products are always finite, but for low == high their sum may
        # round to another number.
        between = low * (1 - share) + high * share
        self.quantiles[column] = torch.where(low == high, low, between)

    def forward(self, values: Tensor) -> Tensor:
        given_VN = values.t().contiguous()
        top = NUM_QUANTILES - 1
        above = torch.searchsorted(self.quantiles, given_VN).clamp(0, top)
        below = (torch.searchsorted(self.quantiles, given_VN, right=True) - 1).clamp(0, top)
        low, high = self.quantiles.gather(1, below), self.quantiles.gather(1, above)
        # If quantiles equal the value, `above` is the first of them and `below` the last.
        between = below + (0.5 * given_VN - 0.5 * low) / (0.5 * high - 0.5 * low)
        rank = torch.where(high > low, between, (below + above) / 2)
        floor = rank.floor().clamp(0, top - 1).long()
        share = rank - floor
        score = self.scores[floor] * (1 - share) + self.scores[floor + 1] * share
        return score.t()

    def unscale(self, scaled: Tensor) -> Tensor:
        """Return values that scale to about `scaled`: (N, V) -> (N, V)."""
        ranks = torch.searchsorted(self.scores, scaled.t().contiguous())
        return self.quantiles.gather(1, ranks.clamp_max(NUM_QUANTILES - 1)).t()


def _scale(
    config: PreprocessingConfig, num_values: int
) -> "LinearScale | RobustScale | QuantileScale":
    match config.scale:
        case "quantile":
            return QuantileScale(num_values)
        case "robust":
            return RobustScale(num_values)
        case kind:
            return LinearScale(num_values, kind)


def standardise(values: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Return (values - mean) / scale. Halves are exact, and finite if the difference overflows."""
    return (0.5 * values).sub_(0.5 * mean).div_(0.5 * scale)


def mean_and_scale(values: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each column, 1 if constant: (N, *) -> (*), (*).

    Rows count by their weights (N). A column that varies by rounding alone is constant, and its
    scale is at least 1: among numbers of 1e18 rounding is in the hundreds.
    """
    mean, scale, varies = _mean_spread_varies(values, weights)
    return mean, torch.where(varies, scale, scale.clamp_min(1.0))


def _mean_spread_varies(values: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, standard deviation, and whether a column varies: (N, *) -> (*), (*), (*)."""
    # In units of a power of two at the largest value, so that sums and squares are finite.
    unit = torch.exp2(values.abs().amax(dim=0).frexp().exponent.double())
    unit = torch.where(unit.isfinite() & (unit > 0), unit, 2.0**1023)
    in_units = values / unit
    if weights is None:
        mean, spread = in_units.mean(dim=0), in_units.std(dim=0, correction=0)
    else:
        shares = (weights / weights.sum()).view(-1, *[1] * (values.dim() - 1))
        mean = (shares * in_units).sum(dim=0)
        spread = (shares * (in_units - mean).square()).sum(dim=0).sqrt()
    # The error bound of a computed variance (Chan, Golub and LeVeque 1983), as in scikit-learn's
    # `_is_constant_feature`: 0.3 and 0.1 + 0.2 in one column are rounding, no difference.
    rounding = len(values) * torch.finfo(torch.float64).eps
    varies = spread.square() > rounding * spread.square() + (rounding * mean).square()
    varies &= (values != values[0]).any(dim=0)
    # A subnormal spread has too few digits to divide by, and its half may be zero.
    varies &= spread * unit >= 2 * torch.finfo(torch.float64).tiny
    return mean * unit, spread * unit, varies


def quantiles(values: Tensor, levels: Sequence[float], weights: Tensor | None) -> Tensor:
    """Return the values at these levels from 0 to 1: (N), (N) -> (Q). The median is at 0.5.

    If a level is between two values, it is their mean (definition 2 of Hyndman and Fan 1996). A
    value of weight 2 counts like two of weight 1.
    """
    level, last = torch.tensor(levels, dtype=torch.float64), len(values) - 1
    if weights is None:
        passed = len(values) * level
        tolerance = 1e-12 * len(values)
        low = (passed - tolerance).ceil().long() - 1
        high = (passed + tolerance).floor().long()
        low, high = low.clamp(0, last), high.clamp(0, last)
        needed = sorted(set(torch.cat([low, high]).tolist()))
        ordered = torch.from_numpy(np.partition(values.numpy(), needed))  # no whole sort
    else:
        ordered, order = values.sort()
        cumulative = weights[order].cumsum(0)
        passed = level * cumulative[-1]
        tolerances = 1e-6 * passed  # the weights are rounded to 32 bits
        low = torch.searchsorted(cumulative, passed - tolerances).clamp_max(last)
        high = torch.searchsorted(cumulative, passed + tolerances).clamp_max(last)
    return 0.5 * ordered[low] + 0.5 * ordered[high]


def _weighted_levels(levels: Tensor, weights: Tensor) -> Tensor:
    """Return where `levels` of equal weights lie among ordered rows of these weights: (Q) -> (Q).

    A row lies in the middle of its weight. Levels are row indices with a fraction.
    """
    middles = weights.cumsum(0) - 0.5 * weights
    wanted = middles[0] + levels / levels[-1] * (middles[-1] - middles[0])
    above = torch.searchsorted(middles, wanted).clamp(1, len(weights) - 1)
    below = above - 1
    share = (wanted - middles[below]) / (middles[above] - middles[below])
    return (below + share.clamp(0, 1)).clamp_max(len(weights) - 1)
