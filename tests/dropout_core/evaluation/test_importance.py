import math
from typing import Any

import pytest
import torch
from torch import Tensor

from dropout_core.evaluation.evaluator import score as score_outputs
from dropout_core.evaluation.importance import Importance, permutation_importance
from dropout_core.seeds import generator
from tests.support.statistics import tolerance
from tests.support.tensors import normal

MATRIX = normal(40, 3)
SLOPES = torch.tensor([[3.0], [0.5], [0.0]], dtype=torch.float64)
GROUPS = {"a": (0,), "b": (1,), "c": (2,)}


def linear(matrix: Tensor) -> Tensor:
    return matrix @ SLOPES


TARGETS = linear(MATRIX)


def squared_error(outputs: Tensor) -> float:
    return float((outputs - TARGETS).square().mean())


def importances(**changes: Any) -> list[Importance]:
    arguments: dict[str, Any] = {
        "groups": GROUPS,
        "score": squared_error,
        "baseline": 0.0,
        "higher_is_better": False,
        "num_repeats": 5,
        "seed": 1,
    }
    return permutation_importance(linear, MATRIX, **arguments | changes)


def by_feature(**changes: Any) -> dict[str, Importance]:
    return {one.feature: one for one in importances(**changes)}


def test_the_greatest_importance_comes_first() -> None:
    for groups in (GROUPS, dict(reversed(GROUPS.items()))):
        result = importances(groups=groups)
        assert [one.feature for one in result] == ["a", "b", "c"]
        assert result[0].mean > result[1].mean > 0


def test_a_feature_the_model_does_not_use_has_no_importance() -> None:
    assert importances()[-1] == Importance("c", 0.0, 0.0)


def test_importances_average_to_their_expectation_over_all_permutations() -> None:
    # A row i that gets the value of row j adds a_ij to the error; over all permutations the sum has
    # the mean and the variance of Hoeffding 1951, theorem 2.
    num_rows, num_repeats = len(MATRIX), 300
    result = by_feature(num_repeats=num_repeats)
    for feature, (column,) in GROUPS.items():
        moved = SLOPES[column] * (MATRIX[:, column, None] - MATRIX[None, :, column])
        added = moved.square() / num_rows
        across, down = added.mean(dim=1, keepdim=True), added.mean(dim=0, keepdim=True)
        centred = added - across - down + added.mean()
        variance = float(centred.square().sum()) / (num_rows - 1)
        distance = abs(result[feature].mean - float(across.sum()))
        assert distance <= tolerance(variance, num_repeats)


def test_the_sign_follows_the_way_the_metric_points() -> None:
    negated = importances(score=lambda outputs: -squared_error(outputs), higher_is_better=True)
    assert negated == importances()


def test_columns_of_one_feature_are_shuffled_as_one() -> None:
    twice = MATRIX[:, [0, 0]]

    def difference(matrix: Tensor) -> Tensor:
        return matrix[:, 0] - matrix[:, 1]

    def error(outputs: Tensor) -> float:
        return float(outputs.square().mean())

    def importance(groups: dict[str, list[int]]) -> list[float]:
        result = permutation_importance(
            difference,
            twice,
            groups=groups,
            score=error,
            baseline=0.0,
            higher_is_better=False,
            num_repeats=3,
            seed=0,
        )
        return [one.mean for one in result]

    assert importance({"both": [0, 1]}) == [0.0]
    assert min(importance({"one": [0], "other": [1]})) > 0


def test_mean_and_standard_deviation_are_those_of_the_repeats() -> None:
    seen: list[float] = []

    def score(outputs: Tensor) -> float:
        seen.append(squared_error(outputs))
        return seen[-1]

    (one,) = importances(groups={"a": (0,)}, score=score)
    repeats = seen.copy()
    assert len(set(repeats)) == len(repeats) == 5
    mean = sum(repeats) / 5
    assert one.mean == pytest.approx(mean)
    spread = math.sqrt(sum((value - mean) ** 2 for value in repeats) / 5)
    assert one.standard_deviation == pytest.approx(spread)
    (worse,) = importances(groups={"a": (0,)}, baseline=0.5)
    assert worse.mean == pytest.approx(mean - 0.5)
    (once,) = importances(groups={"a": (0,)}, num_repeats=1)
    assert once == Importance("a", pytest.approx(repeats[0]), 0.0)


def test_what_is_shuffled_depends_on_seed_feature_and_repeat_alone() -> None:
    state = torch.get_rng_state()
    alone = importances(groups={"b": (1,)})
    assert alone == [by_feature()["b"]]
    assert torch.equal(torch.get_rng_state(), state)
    assert importances(groups={"b": (1,)}, seed=2) != alone
    assert importances(groups={"another": (1,)})[0].mean != alone[0].mean


def test_each_repeat_shuffles_one_feature_by_a_stream_of_its_own() -> None:
    seen: list[Tensor] = []

    def outputs(matrix: Tensor) -> Tensor:
        seen.append(matrix.clone())
        return linear(matrix)

    permutation_importance(
        outputs,
        MATRIX,
        groups={"b": (1,)},
        score=squared_error,
        baseline=0.0,
        higher_is_better=False,
        num_repeats=3,
        seed=7,
    )
    assert len(seen) == 3
    for repeat, shuffled in enumerate(seen):
        order = torch.randperm(len(MATRIX), generator=generator(7, "importance", "b", repeat))
        assert torch.equal(shuffled[:, 1], MATRIX[order, 1])
        assert torch.equal(shuffled[:, [0, 2]], MATRIX[:, [0, 2]])


def test_the_matrix_is_left_as_it_is() -> None:
    before = MATRIX.clone()
    importances()
    assert torch.equal(MATRIX, before)


def test_an_importance_needs_a_repeat() -> None:
    with pytest.raises(ValueError, match="needs at least 1 repeat, but got 0"):
        importances(num_repeats=0)


def test_an_undefined_metric_has_no_importances() -> None:
    ones = torch.ones(len(MATRIX), dtype=torch.int64)

    def roc_auc(outputs: Tensor) -> float | None:
        probabilities = torch.cat([-outputs, outputs], dim=1).softmax(dim=1)
        return score_outputs(probabilities, ones, task="binary", names=(0, 1)).metrics["roc_auc"]

    with pytest.raises(ValueError, match="undefined for shuffled rows"):
        importances(score=roc_auc)
