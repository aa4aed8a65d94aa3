import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from dropout_core.config import PreprocessingConfig
from dropout_core.model.preprocessing import NUM_QUANTILES, Preprocessing, QuantileScale
from tests.support.served_models import normal

NAN = math.nan
SCALES = ["standard", "robust", "quantile", "minmax", "pixels", "unit", "none"]


def matrix(*columns: list[float]) -> Tensor:
    return torch.tensor(columns, dtype=torch.float64).t()


def fitted(rows: Tensor, **options: object) -> Preprocessing:
    """Preprocessing of values alone, those with holes indicated."""
    holes = rows.isnan().any(dim=0).nonzero().flatten().tolist()
    preprocessing = Preprocessing(
        PreprocessingConfig(**options), num_values=rows.shape[1], indicated=holes
    )
    preprocessing.fit(rows)
    return preprocessing


def test_values_become_standard_and_holes_do_not_count() -> None:
    rows = matrix([1.0, 3.0, NAN, 5.0, NAN], [1e12, 1e12 + 1, 1e12 + 2, 1e12 + 3, 1e12 + 4])
    scaled = fitted(rows)(rows)
    assert scaled.dtype == torch.float32
    known = scaled[[0, 1, 3], 0].double()
    torch.testing.assert_close(known.mean(), torch.tensor(0.0, dtype=torch.float64))
    torch.testing.assert_close(scaled[:, 1].diff(), torch.full((4,), 1 / 2**0.5))


@pytest.mark.parametrize(("impute", "stands_in"), [("mean", 4.0), ("median", 1.5)])
def test_a_hole_gets_the_mean_or_the_median_and_is_marked(impute: str, stands_in: float) -> None:
    rows = matrix([1.0, 2.0, 12.0, 1.0, NAN], [0.0, 1.0, 0.0, 1.0, 0.0])
    preprocessing = fitted(rows, impute=impute)
    filled = rows.nan_to_num(stands_in)
    expected = preprocessing(filled)
    scaled = preprocessing(rows)
    torch.testing.assert_close(scaled[:, :2], expected[:, :2], rtol=0, atol=0)
    assert scaled[:, 2].tolist() == [0, 0, 0, 0, 1]
    assert preprocessing.out_features == 3


def test_a_column_without_any_value_is_zero() -> None:
    rows = matrix([NAN, NAN, NAN], [1.0, 2.0, 3.0])
    for scale in ("standard", "quantile"):
        assert fitted(rows, scale=scale)(rows)[:, 0].tolist() == [0, 0, 0]


def test_codes_pass_as_they_are() -> None:
    preprocessing = Preprocessing(PreprocessingConfig(), num_values=1, num_codes=2)
    rows = matrix([1.0, 2.0, 6.0], [0.0, 3.0, 1.0], [9999.0, 0.0, 5.0])
    preprocessing.fit(rows)
    assert preprocessing(rows)[:, 1:].tolist() == rows[:, 1:].tolist()


@given(value=st.floats(-1e12, 1e12), num_rows=st.integers(1, 300))
@settings(deadline=None)
def test_a_constant_column_has_scale_one(value: float, num_rows: int) -> None:
    rows = torch.full((num_rows, 1), value, dtype=torch.float64)
    assert fitted(rows).scale.deviation.item() == 1.0


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    "values",
    [
        [0.3, 0.1 + 0.2] * 100,
        [1.0, sum([0.1] * 10)] * 50,
        [-1e15, -1e15 + 0.125] * 20,
        [1e15, 1e15 + 1] * 30,
        [0.0, 5e-324, 1e-323, 2e-323] * 50,
        [4.0] * 7,
    ],
    ids=["rounding", "sums", "large", "whole", "subnormal", "constant"],
)
def test_a_column_that_varies_by_rounding_alone_is_constant(
    scale: str, values: list[float]
) -> None:
    rows = matrix(values)
    unit = 255.0 if scale == "pixels" else 1.0
    preprocessing = fitted(rows, scale=scale)
    first = float(preprocessing(rows[:1]))
    assert (preprocessing(rows) - first).abs().max() <= 2
    assert float(preprocessing(rows[:1] + 1.0)) == pytest.approx(
        first + 1 / unit, rel=1e-5, abs=0.2
    )


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("impute", ["mean", "median"])
@given(
    values=st.lists(st.integers(-9, 9), min_size=1, max_size=20),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=25)
def test_a_row_of_weight_two_counts_twice_and_one_of_weight_zero_never(
    scale: str, impute: str, values: list[int], seed: int
) -> None:
    stream = torch.Generator().manual_seed(seed)
    weights = torch.randint(0, 4, (len(values),), generator=stream)
    weights[0] = 3
    rows = matrix([float(value) for value in values])
    options = {"scale": scale, "impute": impute}
    repeated = fitted(rows.repeat_interleave(weights, dim=0), **options)
    weighted = Preprocessing(PreprocessingConfig(**options), num_values=1)
    weighted.fit(rows, (weights / weights.double().mean()).float())
    torch.testing.assert_close(weighted.fill, repeated.fill, rtol=1e-6, atol=1e-6)
    if scale != "quantile":
        torch.testing.assert_close(weighted(rows), repeated(rows), rtol=1e-5, atol=1e-5)


def test_weighted_quantiles_are_those_of_the_rows_that_count() -> None:
    rows = normal(4000, 1)
    weights = torch.where(rows.flatten() > 0, 3.0, 1.0)
    weighted = Preprocessing(PreprocessingConfig(scale="quantile"), num_values=1)
    weighted.fit(rows, weights)
    repeated = fitted(rows.repeat_interleave(weights.long(), dim=0), scale="quantile")
    torch.testing.assert_close(weighted(rows), repeated(rows), rtol=0, atol=0.03)
    equal = Preprocessing(PreprocessingConfig(scale="quantile"), num_values=1)
    equal.fit(rows, torch.ones(4000))
    torch.testing.assert_close(equal(rows), fitted(rows, scale="quantile")(rows), rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale", ["standard", "robust", "quantile", "minmax", "unit"])
def test_large_numbers_that_differ_in_their_last_places_stay_small(scale: str) -> None:
    stream = torch.Generator().manual_seed(0)
    rows = 10.0**18 + torch.randint(0, 1000, (96, 1), generator=stream).double()
    assert fitted(rows, scale=scale)(rows).abs().max() < 4


def test_values_are_kept_divided_by_255_or_put_between_0_and_1() -> None:
    rows = matrix([0.0, 51.0, 255.0], [-2.0, 0.0, 2.0])
    expected = {
        "none": rows,
        "pixels": rows / 255,
        "minmax": matrix([0.0, 0.2, 1.0], [0.0, 0.5, 1.0]),
    }
    for scale, scaled in expected.items():
        preprocessing = fitted(rows, scale=scale)
        assert torch.equal(preprocessing(rows), scaled.float())
        assert torch.equal(preprocessing.scale.unscale(scaled), rows)


def test_robust_values_are_in_quartile_ranges_and_bounded_smoothly() -> None:
    rows = matrix([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 1e6])
    scaled = fitted(rows, scale="robust")(rows).flatten()
    x = (rows.flatten() - 4) / 4  # the quartiles are 2 and 6
    torch.testing.assert_close(scaled, (x / (1 + (x / 3) ** 2).sqrt()).float())
    assert float(scaled[-1]) == pytest.approx(3)


def test_one_value_far_out_leaves_the_robust_scale_of_the_others() -> None:
    for far in (1e16, -1e300):
        rows = matrix([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, far])
        assert 3 <= float(fitted(rows, scale="robust").scale.spread) <= 5


def test_robust_values_have_half_the_range_if_most_are_equal() -> None:
    rows = matrix([0.0] * 8 + [2.0], [0.3] * 4 + [0.1 + 0.2] * 4 + [2.3])
    scale = fitted(rows, scale="robust").scale
    torch.testing.assert_close(scale.spread, torch.tensor([1.0, 1.0], dtype=torch.float64))


def test_a_unit_is_255_for_pixels_and_else_the_range_of_each_column() -> None:
    corner, pixels, ages = [0.0, 0.0, 0.0], [0.0, 51.0, 255.0], [20.0, 50.0, 80.0]
    image = matrix(corner, pixels)
    assert torch.equal(fitted(image, scale="unit")(image), (image / 255).float())
    for others in (matrix(ages, corner), matrix(pixels, [0.5, 1.0, 0.0]), matrix(pixels, ages) - 1):
        expected = fitted(others, scale="minmax")(others)
        assert torch.equal(fitted(others, scale="unit")(others), expected)


def test_a_table_with_other_values_than_numbers_is_no_image() -> None:
    rows = matrix([0.0, 51.0, 255.0], [0.0, 1.0, 1.0])
    preprocessing = Preprocessing(
        PreprocessingConfig(scale="unit"), num_values=2, only_numbers=False
    )
    preprocessing.fit(rows)
    assert preprocessing(rows)[:, 1].tolist() == [0, 1, 1]


@pytest.mark.parametrize("weighted", [False, True])
def test_quantiles_are_those_of_the_known_values_scaled(weighted: bool) -> None:
    rows = matrix([4.0, NAN, 1.0, 3.0, 2.0, 0.0], [0.0] * 6)
    preprocessing = fitted(rows, scale="minmax")
    weights = torch.ones(6) if weighted else None
    found = preprocessing.quantiles(rows, 5, weights)
    torch.testing.assert_close(found[:, 0], torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]))
    assert found[:, 1].tolist() == [0.0] * 5


def test_a_spread_too_small_to_square_is_one_all_the_same() -> None:
    deviation = fitted(matrix([1e-200, 2e-200])).scale.deviation.item()
    assert deviation == pytest.approx(5e-201, rel=1e-9)


def test_quantiles_make_any_distribution_normal() -> None:
    rows = normal(5000, 3).exp() * torch.tensor([1.0, 1e-9, 1e9], dtype=torch.float64)
    scaled = fitted(rows, scale="quantile")(rows)
    for column in scaled.t():
        # Between the quantiles scores are interpolated, so the tails are a little short.
        assert stats.kstest(column.numpy(), "norm").statistic < 0.5 / (NUM_QUANTILES - 1) + 0.002


def test_quantiles_keep_the_order_and_put_equal_values_together() -> None:
    values = torch.tensor([5.0] * 300 + list(range(400)), dtype=torch.float64)[:, None]
    preprocessing = fitted(values, scale="quantile")
    given = torch.linspace(-50, 450, 1001, dtype=torch.float64)[:, None]
    scores = preprocessing(given).flatten()
    assert (scores.diff() >= 0).all()
    assert scores[0] == preprocessing(values.amin()[None, None])
    assert scores[-1] == preprocessing(values.amax()[None, None])
    # Of the 700 values 5 are below the 301 equal ones: their middle is at rank 155.5.
    middle = float(preprocessing(torch.tensor([[5.0]], dtype=torch.float64)))
    assert middle == pytest.approx(stats.norm.ppf(155.5 / 700), abs=0.02)


@given(
    levels=st.lists(st.integers(-5000, 5000), min_size=2, max_size=6, unique=True),
    seed=st.integers(0, 99),
)
@settings(deadline=None)
def test_quantiles_see_ranks_alone(levels: list[int], seed: int) -> None:
    # Cents, which no binary fraction is, and the same values coded 0, 1, 2, ... in their order.
    ranks = {level: rank for rank, level in enumerate(sorted(levels))}
    stream = torch.Generator().manual_seed(seed)
    drawn = [levels[i] for i in torch.randint(len(levels), (997,), generator=stream)]
    cents = matrix([level / 100 for level in drawn])
    coded = matrix([float(ranks[level]) for level in drawn])
    scores = [fitted(rows, scale="quantile")(rows) for rows in (cents, coded)]
    # Where two values are neighbours a quantile may lie between them, a little more or less.
    torch.testing.assert_close(*scores, rtol=0, atol=1e-3)


def test_what_a_scale_is_to_undo_comes_back() -> None:
    rows = normal(400, 2).exp()
    for options in ({"scale": "standard"}, {"scale": "robust"}, {"scale": "quantile"}):
        scale = fitted(rows, **options).scale
        given = scale(rows)
        # The quantile scale answers with one of its quantiles, about 1/256 of the ranks away.
        again = scale(scale.unscale(given))
        assert float((again - given).abs().median()) < 0.02


def test_parts_of_any_length_give_the_same_bits() -> None:
    rows = normal(70_000, 2)
    rows[::7, 1] = NAN
    preprocessing = fitted(rows, scale="quantile")
    assert torch.equal(preprocessing.in_chunks(rows), preprocessing(rows))


@pytest.mark.parametrize("scale", ["standard", "robust", "quantile", "minmax", "unit"])
@pytest.mark.parametrize("impute", ["mean", "median"])
def test_the_largest_and_the_smallest_numbers_stay_finite(scale: str, impute: str) -> None:
    rows = matrix(
        [1.7e308, -1.7e308, 1.7e308, NAN],
        [1e308, 1e308, 1.1e308, 1.2e308],
        [5e-324, 0.0, -5e-324, 1e-308],
        [1e308, 0.0, 5e-324, NAN],
    )
    preprocessing = fitted(rows, scale=scale, impute=impute)
    assert preprocessing(rows).isfinite().all()
    assert preprocessing(rows)[:, :2].std(dim=0).min() > 0.1


def test_quantiles_of_huge_values_stay_finite() -> None:
    scale = QuantileScale(1)
    values = torch.tensor([-1e308, 0.0, 1e308], dtype=torch.float64)
    scale.fit(0, values)
    assert scale.quantiles.isfinite().all()
