import pytest
import torch
from torch import Tensor

from dropout_core.evaluation.coverage import Coverage, reported
from dropout_core.model.conformal import Conformal, class_scores, kept_scores, value_scores
from dropout_core.model.predictor import Predictor
from tests.support.served_models import make_model, normal


def of_classes(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    probabilities = (2 * normal(rows, 4, seed=seed)).softmax(dim=1)
    stream = torch.Generator().manual_seed(seed)
    return probabilities, torch.multinomial(probabilities, 1, generator=stream)[:, 0]


def of_values(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    outputs = normal(rows, 2, seed=seed)
    return outputs, outputs + normal(rows, 2, seed=seed + 100)


def both(task: str, rows: int) -> tuple[list[Conformal], Tensor, Tensor]:
    draw, scores_of = (
        (of_values, value_scores) if task == "regression" else (of_classes, class_scores)
    )
    scores = kept_scores(scores_of(*draw(rows, 0)))
    return [Conformal(scores, level=level) for level in (0.8, 0.9)], *draw(rows, 1)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_new_rows_are_covered_at_the_level(task: str) -> None:
    rows = 4_000
    conformal, outputs, targets = both(task, rows)
    coverage = Coverage(task, conformal)
    coverage.add(outputs, targets)
    for entry in coverage.scores():
        level = entry["level"]
        # The variance of level (1 - level) / rows, of these rows and of those with the scores.
        deviation = (2 * level * (1 - level) / rows) ** 0.5
        assert entry["coverage"] == pytest.approx(level, abs=5 * deviation)


def test_the_mean_size_of_sets_and_the_mean_width_of_intervals_are_told() -> None:
    conformal, outputs, targets = both("multiclass", 200)
    coverage = Coverage("multiclass", conformal)
    coverage.add(outputs, targets)
    sizes = conformal[0].contains(outputs).sum(dim=1).double()
    assert coverage.scores()[0]["mean_size"] == pytest.approx(float(sizes.mean()))
    conformal, outputs, targets = both("regression", 200)
    coverage = Coverage("regression", conformal)
    coverage.add(outputs, targets)
    ends = conformal[1].intervals(outputs)
    assert coverage.scores()[1]["mean_width"] == pytest.approx(float(ends.diff(dim=2).mean()))


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_it_has_the_same_bits_in_whatever_batches_the_rows_came(task: str) -> None:
    conformal, outputs, targets = both(task, 40)
    whole = Coverage(task, conformal)
    whole.add(outputs, targets)
    in_parts = Coverage(task, conformal)
    for sizes in zip(outputs.split([7, 0, 20, 13]), targets.split([7, 0, 20, 13]), strict=True):
        in_parts.add(*sizes)
    assert in_parts.scores() == whole.scores()


def test_an_infinite_width_is_none() -> None:
    coverage = Coverage(
        "regression", [Conformal(torch.full((20, 1), 1.7e308, dtype=torch.float64), level=0.5)]
    )
    coverage.add(torch.zeros(3, 1), torch.zeros(3, 1))
    assert coverage.scores() == [{"level": 0.5, "coverage": 1.0, "mean_width": None}]


def test_only_levels_that_the_model_has_scores_enough_for_are_reported() -> None:
    model, description = make_model()
    assert reported(Predictor(model, description)) == []
    model.scores = normal(9, 1).sort(dim=0).values
    assert [c.level for c in reported(Predictor(model, description))] == [0.8, 0.9]
