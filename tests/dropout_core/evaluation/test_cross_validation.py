import pytest

from dropout_core.evaluation.cross_validation import summary


def evaluation(**metrics: float | None) -> dict[str, object]:
    return {"num_rows": 10, "metrics": metrics, "per_class": None}


def test_a_summary_has_the_folds_their_mean_and_their_spread() -> None:
    folds = [evaluation(accuracy=0.5), evaluation(accuracy=0.7), evaluation(accuracy=0.9)]
    told = summary(folds)
    assert (told["folds"], told["num_folds"]) == (folds, 3)
    assert summary(folds, of=5)["num_folds"] == 5
    assert told["mean"] == {"accuracy": pytest.approx(0.7)}
    assert told["standard_deviation"] == {"accuracy": pytest.approx(0.2)}


def test_what_is_undefined_in_a_fold_is_left_to_the_others() -> None:
    told = summary([evaluation(auc=None, f1=None), evaluation(auc=0.5, f1=None)])
    assert told["mean"] == {"auc": 0.5, "f1": None}
    assert told["standard_deviation"] == {"auc": None, "f1": None}
