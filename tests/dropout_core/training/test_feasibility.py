import pickle
from typing import Any

import pytest

from dropout_core.config import MLPConfig, PreprocessingConfig, TrainingConfig
from dropout_core.training.feasibility import InfeasibleError, check_feasible, check_preprocessing


def check(
    *, model: dict[str, Any] | None = None, training: dict[str, Any] | None = None, **data: Any
) -> None:
    data = {"task": "multiclass", "num_rows": 8, "num_outputs": 3, "has_validation": True, **data}
    check_feasible(MLPConfig(**(model or {})), TrainingConfig(**(training or {})), **data)


@pytest.mark.parametrize(
    ("asked", "field", "message"),
    [
        (
            {"training": {"class_weights": "balanced"}, "task": "regression"},
            ("training", "class_weights"),
            "a regression has no classes",
        ),
        (
            {"training": {"label_smoothing": 0.1}, "task": "multilabel"},
            ("training", "label_smoothing"),
            "a multilabel task has no classes",
        ),
        (
            {"training": {"class_weights": [1.0, 2.0]}},
            ("training", "class_weights"),
            "2 weights for 3 classes",
        ),
        (
            {"training": {"precision": "bfloat16"}, "model": {"batch_norm": True}},
            ("training", "precision"),
            "no batch norm",
        ),
        (
            {"training": {"early_stopping": {}}, "has_validation": False},
            ("training", "early_stopping"),
            "validation rows",
        ),
        (
            {"training": {"calibrate": True}, "has_validation": False},
            ("training", "calibrate"),
            "calibration needs validation rows",
        ),
        (
            {
                "training": {"dropout_schedule": {}},
                "model": {"input_dropout": {"p": 0.2, "scaling": "classic"}},
            },
            ("training", "dropout_schedule"),
            "`classic` dropout expects the same probability",
        ),
        (
            {
                "training": {
                    "layer_rates": "ntk",
                    "scheduler": {"name": "cosine", "min_lr": 0.1},
                }
            },
            ("training", "scheduler", "min_lr"),
            "the same for all layers",
        ),
        ({"training": {"loss": "absolute"}}, ("training", "loss"), "has the cross-entropy"),
        (
            {"training": {"quantiles": [0.1, 0.9]}},
            ("training", "quantiles"),
            "the task is multiclass",
        ),
        (
            {"training": {"quantiles": [0.5], "loss": "absolute"}, "task": "regression"},
            ("training", "loss"),
            "pinball loss",
        ),
        ({"model": {"batch_norm": True}, "num_rows": 1}, ("model", "batch_norm"), "at least 2"),
        (
            {"training": {"class_weights": [0.0, 0.0, 0.0]}},
            ("training", "class_weights"),
            "all weights are 0",
        ),
        (
            {"training": {"early_stopping": {"monitor": "r2"}}},
            ("training", "early_stopping", "monitor"),
            "a multiclass task can monitor loss, validation_loss, accuracy, balanced_accuracy",
        ),
        (
            {"training": {"early_stopping": {"monitor": "f1"}}, "task": "regression"},
            ("training", "early_stopping", "monitor"),
            "a regression task can monitor loss, validation_loss, r2, mae",
        ),
        (
            {"training": {"optimizer": {"name": "sgd", "lr": 1e39}}},
            ("training", "optimizer", "lr"),
            "1e\\+39 is more than 3.4e\\+38",
        ),
        (
            {"training": {"optimizer": {"name": "adam", "eps": 1e300}}},
            ("training", "optimizer", "eps"),
            "the largest number",
        ),
        (
            {"training": {"class_weights": [1.0, 1e39, 1.0]}},
            ("training", "class_weights", "1"),
            "the largest number",
        ),
        ({"model": {"max_norm": 1e39}}, ("model", "max_norm"), "the largest number"),
        (
            {"model": {"batch_norm": True}, "training": {"batch_size": 1}},
            ("model", "batch_norm"),
            "the largest here has 1",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_by_its_field(
    asked: dict[str, Any], field: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InfeasibleError, match=message) as caught:
        check(**asked)
    assert caught.value.field == field
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.field, str(again)) == (field, str(caught.value))


def test_a_table_without_numbers_has_none_to_embed() -> None:
    config = PreprocessingConfig(number_embedding={"kind": "periodic"})
    with pytest.raises(InfeasibleError, match="the table has no numbers to embed") as caught:
        check_preprocessing(config, num_numbers=0)
    assert caught.value.field == ("preprocessing", "number_embedding")
    check_preprocessing(config, num_numbers=1)
    check_preprocessing(PreprocessingConfig(), num_numbers=0)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"training": {"class_weights": [1.0, 2.0, 3.0], "label_smoothing": 0.1}},
        {"training": {"class_weights": "balanced"}, "task": "binary", "num_outputs": 2},
        {"training": {"precision": "bfloat16"}},
        {"training": {"early_stopping": {}}},
        {"model": {"batch_norm": True}, "num_rows": 2},
        {"training": {"max_runtime_seconds": 1e300, "early_stopping": {"min_delta": 1e39}}},
        {"has_validation": False, "num_rows": 1, "task": "regression"},
    ],
)
def test_what_can_be_trained_is_let_through(asked: dict[str, Any]) -> None:
    check(**asked)
