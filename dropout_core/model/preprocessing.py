"""Imputation and scaling of features before the first layer, as modules of the model.

Shapes: N rows, V values, K categorical features, I values with an indicator, Q quantiles.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dropout_core.config import PreprocessingConfig

NUM_QUANTILES = 257
_CHUNK_ROWS = 65_536


class Preprocessing(nn.Module):
    """Impute and scale the values and add indicators of missing ones; pass category codes on.

    Values are scaled in float64, so that large ones keep their differences. `indicated` are the
    column indices of the values that have an indicator, an input that is 1 where they are missing.
    Shape: (N, V + K) float64, NaN where a value is missing -> (N, V + I + K) float32.
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
    ) -> None:
        super().__init__()
        self.num_values = num_values
        self.num_codes = num_codes
        self._impute = config.impute
        self.register_buffer("fill", torch.zeros(num_values, dtype=torch.float64))
        self.register_buffer("indicated", torch.tensor(indicated, dtype=torch.int64))
        self.scale = (
            QuantileScale(num_values) if config.scale == "quantile" else StandardScale(num_values)
        )

    @property
    def out_features(self) -> int:
        return self.num_values + len(self.indicated) + self.num_codes

    def fit(self, matrix: Tensor) -> None:
        """Fit fill values and scales to training rows: (N, V + K)."""
        for column in range(self.num_values):
            values = matrix[:, column]
            known = values[~values.isnan()]
            if len(known) == 0:
                known = known.new_zeros(1)
            self.fill[column] = (
                _median(known) if self._impute == "median" else mean_and_scale(known)[0]
            )
            self.scale.fit(column, known)

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


class StandardScale(nn.Module):
    """Scale to mean 0 and variance 1; a constant column has scale 1. Shape: (N, V) -> (N, V)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, num_values: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_values, dtype=torch.float64))
        self.register_buffer("deviation", torch.ones(num_values, dtype=torch.float64))

    def fit(self, column: int, values: Tensor) -> None:
        """Fit a column to its known values: (N)."""
        self.mean[column], self.deviation[column] = mean_and_scale(values)

    def forward(self, values: Tensor) -> Tensor:
        return standardise(values, self.mean, self.deviation)

    def unscale(self, scaled: Tensor) -> Tensor:
        """Return values that scale to about `scaled`: (N, V) -> (N, V)."""
        return scaled * self.deviation + self.mean


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

    def fit(self, column: int, values: Tensor) -> None:
        """Fit a column to its known values: (N)."""
        ordered = values.sort().values
        levels = torch.linspace(0, len(ordered) - 1, NUM_QUANTILES, dtype=torch.float64)
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


def standardise(values: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Return (values - mean) / scale. Halves are exact, and finite if the difference overflows."""
    return (0.5 * values).sub_(0.5 * mean).div_(0.5 * scale)


def mean_and_scale(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each column, 1 if constant: (N, *) -> (*), (*)."""
    # In units of a power of two at the largest value, so that sums and squares are finite.
    unit = torch.exp2(values.abs().amax(dim=0).frexp().exponent.double())
    unit = torch.where(unit.isfinite() & (unit > 0), unit, 2.0**1023)
    mean = (values / unit).mean(dim=0) * unit
    scale = (values / unit).std(dim=0, correction=0) * unit
    # Rounding gives some constant columns a tiny scale that is not zero.
    varies = (values != values[0]).any(dim=0) & (scale > 0)
    return mean, torch.where(varies, scale, 1.0)


def _median(values: Tensor) -> Tensor:
    """Return the median, which for an even N is the mean of the middle two: (N) -> ()."""
    ordered = values.sort().values
    return 0.5 * ordered[(len(ordered) - 1) // 2] + 0.5 * ordered[len(ordered) // 2]
