from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropout_core.sweeps.objectives import (
    check_objectives,
    deviations,
    mean_scores,
    pareto_front,
)
from dropout_core.training.feasibility import InfeasibleError
from tests.support.sweeps import sweep_config

BOTH = sweep_config(objective=["accuracy", "num_parameters"])
POINTS = st.dictionaries(
    st.integers(0, 20), st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1
)


@given(POINTS)
def test_nothing_is_better_than_a_trial_of_the_front(points: dict[int, tuple[int, int]]) -> None:
    scores = {number: (float(a), float(b)) for number, (a, b) in points.items()}
    front = pareto_front(BOTH, scores)
    assert list(front) == sorted(front)

    def is_better(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
        return one != other and one[0] >= other[0] and one[1] <= other[1]

    for number, own in scores.items():
        assert (number in front) is not any(is_better(other, own) for other in scores.values())


def test_the_mean_over_repeats_needs_all_of_them() -> None:
    assert mean_scores([(1.0, 5.0), (2.0, 7.0)]) == (1.5, 6.0)
    assert mean_scores([(1.0,), None]) is None
    assert mean_scores([(float("nan"),), (1.0,)]) is None
    assert mean_scores([(1.5e308,), (1.7e308,)]) == (1.6e308,)
    assert deviations([(1.0, 5.0), (2.0, 5.0)]) == (pytest.approx(0.5**0.5), 0.0)
    assert deviations([(1.0,)]) is None


@pytest.mark.parametrize(
    ("objective", "facts", "text"),
    [
        ("rmse", {}, "rmse is no metric of this binary task"),
        ("pinball_loss", {"task": "regression"}, "no metric"),
        ("subset_accuracy", {}, "no metric"),
        ("cross_validation.accuracy", {}, "`folds`"),
        ("accuracy", {"has_validation": False}, "validation rows"),
        ("validation_loss", {"has_validation": False}, "validation rows"),
        (["num_parameters", "validation_score"], {"has_validation": False}, "validation rows"),
    ],
)
def test_an_objective_that_the_job_lacks_is_refused(
    objective: Any, facts: dict[str, Any], text: str
) -> None:
    config = sweep_config(objective=objective)
    known = {"task": "binary", "has_validation": True, "has_folds": False, **facts}
    with pytest.raises(InfeasibleError, match=text) as error:
        check_objectives(config, **known)
    assert error.value.field == ("objective", str(len(config.objective) - 1), "metric")


def test_an_objective_that_the_job_has_is_accepted() -> None:
    known: dict[str, Any] = {"has_validation": False, "has_folds": True}
    for objective in ("cross_validation.pinball_loss", "num_parameters"):
        config = sweep_config(objective=objective)
        check_objectives(config, task="regression", has_quantiles=True, **known)
