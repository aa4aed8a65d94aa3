import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dropout_core.model import conformal
from dropout_core.model.conformal import (
    Conformal,
    LevelError,
    class_scores,
    kept_scores,
    num_pairs,
    num_scores_needed,
    value_scores,
)
from tests.support.served_models import normal

LEVELS = [0.5, 0.8, 0.9, 0.95, 0.57, 0.07]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("num_scores", [19, 99, 100])
def test_of_exchangeable_rows_the_level_is_covered_exactly(num_scores: int, level: float) -> None:
    everyone = normal(num_scores + 1).abs()
    covered = 0
    for index in range(num_scores + 1):  # each row in turn is the new one
        others = torch.cat([everyone[:index], everyone[index + 1 :]])[:, None]
        intervals = Conformal(kept_scores(others), level=level).intervals(torch.zeros(1, 1))
        covered += bool(everyone[index] <= intervals[0, 0, 1])
    assert covered == math.ceil(round(level * 100) * (num_scores + 1) / 100)


@given(num_rows=st.integers(5, 400), num_kept=st.integers(5, 60), level=st.floats(0.01, 0.8))
def test_kept_scores_promise_no_less_than_all_of_them(
    num_rows: int, num_kept: int, level: float
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conformal, "MAX_SCORES", num_kept)
        kept = kept_scores(torch.arange(1.0, num_rows + 1).flip(0)[:, None])
    assert len(kept) == min(num_rows, num_kept)
    rank = float(Conformal(kept, level=level).intervals(torch.zeros(1, 1))[0, 0, 1])
    share = rank / (num_rows + 1)
    assert level <= share < level + 1 / (len(kept) + 1) + 1 / (num_rows + 1)


def test_scores_of_many_columns_are_fewer_rows() -> None:
    kept = kept_scores(torch.arange(2_000.0)[:, None].expand(-1, 1_000))
    assert kept.shape == (1_000, 1_000)
    assert (kept[1:] > kept[:-1]).all()


@pytest.mark.parametrize("level", [*LEVELS, 0.99, 0.999])
def test_too_few_scores_for_a_level_are_refused_with_their_number(level: float) -> None:
    needed = num_scores_needed(level)
    scores = torch.zeros(needed, 1)
    Conformal(scores, level=level)
    with pytest.raises(LevelError, match=f"of {needed} validation rows, and .* has {needed - 1}"):
        Conformal(scores[1:], level=level)


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, math.nan])
def test_a_level_is_between_0_and_1(level: float) -> None:
    with pytest.raises(ValueError, match="above 0 and below 1"):
        Conformal(torch.zeros(9, 1), level=level)


def test_a_set_has_the_classes_that_are_likely_enough() -> None:
    probabilities = torch.tensor([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25], [0.2, 0.3, 0.5]]).double()
    scores = class_scores(probabilities, torch.tensor([0, 1, 1]))
    torch.testing.assert_close(scores[:, 0], torch.tensor([0.3, 0.65, 0.7]).double())
    sets = Conformal(kept_scores(scores), level=0.5).contains(probabilities)  # rank 2: 0.65
    assert sets.tolist() == [
        [True, False, False],
        [True, True, False],
        [False, False, True],
    ]
    unsure = torch.full((1, 3), 1 / 3).double()
    assert not Conformal(kept_scores(scores), level=0.5).contains(unsure).any()


def test_an_interval_is_as_wide_on_both_sides_for_each_target() -> None:
    outputs = torch.tensor([[10.0, 0.0], [20.0, 0.0], [30.0, 0.0]])
    targets = torch.tensor([[11.0, 0.1], [18.0, 0.2], [33.0, -0.3]]).double()
    scores = kept_scores(value_scores(outputs, targets))
    intervals = Conformal(scores, level=0.5).intervals(torch.tensor([[5.0, 1.0]]))
    torch.testing.assert_close(intervals, torch.tensor([[[3.0, 7.0], [0.8, 1.2]]]).double())


QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@pytest.mark.parametrize(("level", "pair"), [(0.9, 0), (0.8, 0), (0.6, 1), (0.5, 1), (0.1, 1)])
def test_the_nearest_pair_of_quantiles_is_moved(level: float, pair: int) -> None:
    # Two targets of five quantiles; the second is ten times the first.
    of_first = torch.tensor([[-2.0, -1.0, 0.0, 1.0, 2.0]]).expand(20, -1)
    outputs = torch.cat([of_first, 10 * of_first], dim=1)
    targets = (3 * normal(20, 1)) * torch.tensor([1.0, 10.0])
    scores = value_scores(outputs, targets)
    assert scores.shape == (20, 2 * num_pairs(QUANTILES))
    found = Conformal(kept_scores(scores), level=level, quantiles=QUANTILES).intervals(outputs)
    half = of_first[0, -1 - pair]
    beyond = (targets[:, 0].abs() - half).sort().values[math.ceil(level * 21) - 1]
    expected = torch.maximum(half + beyond, torch.zeros(()))
    torch.testing.assert_close(found[0, 0], torch.stack([-expected, expected]))
    torch.testing.assert_close(found[:, 1], 10 * found[:, 0])


def test_an_interval_that_is_narrowed_to_nothing_is_a_point() -> None:
    scores = torch.full((20, 1), -5.0)
    found = Conformal(scores, level=0.5, quantiles=(0.1, 0.9)).intervals(torch.tensor([[1.0, 3.0]]))
    assert found.tolist() == [[[2.0, 2.0]]]


def test_rows_that_the_model_could_not_compute_count_as_missed() -> None:
    outputs = torch.tensor([[math.nan], [math.inf], [0.0]])
    scores = kept_scores(value_scores(outputs, torch.zeros(3, 1)))
    assert scores[:, 0].tolist() == [0.0, math.inf, math.inf]
    intervals = Conformal(scores, level=0.7).intervals(torch.zeros(1, 1))
    assert intervals.isfinite().all()
