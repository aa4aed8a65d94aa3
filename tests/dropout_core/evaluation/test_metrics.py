import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_core.training.class_scores import mean_over_classes, roc_auc_and_average_precision


@st.composite
def scored(draw: st.DrawFn) -> tuple[list[float], list[bool]]:
    """Scores of either sign, zeros of both and a subnormal too, some of them drawn often."""
    score = st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, 5e-324, 0.5])
    rows = draw(st.lists(st.tuples(score, st.booleans()), min_size=1, max_size=30))
    scores, positive = zip(*rows, strict=True)
    return list(scores), list(positive)


def evaluate(scores: list[float], positive: list[bool]) -> tuple[float | None, float | None]:
    scores_N = torch.tensor(scores, dtype=torch.float64)
    return roc_auc_and_average_precision(scores_N, torch.tensor(positive))


@given(scored())
@settings(deadline=None, max_examples=50)
def test_the_area_counts_pairs_and_ties_by_half(rows: tuple[list[float], list[bool]]) -> None:
    scores, positive = rows
    high = [s for s, is_positive in zip(*rows, strict=True) if is_positive]
    low = [s for s, is_positive in zip(*rows, strict=True) if not is_positive]
    area, _ = evaluate(scores, positive)
    if high and low:
        won = sum((h > s) + (h == s) / 2 for h in high for s in low)
        assert area == won / (len(high) * len(low))
    else:
        assert area is None


@given(scored())
@settings(deadline=None, max_examples=50)
def test_precision_is_averaged_over_the_positive_rows(
    rows: tuple[list[float], list[bool]],
) -> None:
    scores, positive = rows
    high = [s for s, is_positive in zip(*rows, strict=True) if is_positive]
    precisions = [sum(h >= s for h in high) / sum(other >= s for other in scores) for s in high]
    average = evaluate(scores, positive)[1]
    if high:
        assert average == pytest.approx(sum(precisions) / len(high), rel=1e-14)
    else:
        assert average is None


def test_neighbouring_scores_are_no_tie() -> None:
    assert evaluate([1.0, 1.0 + 2**-52], [False, True]) == (1.0, 1.0)
    assert evaluate([1.0, 1.0], [False, True]) == (0.5, 0.5)


def test_a_mean_is_over_the_classes_where_it_is_defined() -> None:
    scores = [{"f1": 0.5}, {"f1": None}, {"f1": 1.0}]
    assert mean_over_classes(scores, "f1") == 0.75
    assert mean_over_classes(scores[1:2], "f1") is None
    assert mean_over_classes([], "f1") is None
