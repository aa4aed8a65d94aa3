from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from dropout_core.config import AdamConfig, MLPConfig, SplitConfig, TrainingConfig
from dropout_core.data.errors import DataError
from dropout_core.data.splits import random_split
from dropout_core.experiment import Experiment
from dropout_core.inference import Predictor
from tests.dropout_core.served_models import normal

FAST = {
    "model": MLPConfig(hidden=(16,), hidden_dropout=0.1),
    "training": TrainingConfig(
        epochs=30, batch_size=16, optimizer=AdamConfig(lr=0.03), device="cpu"
    ),
}


def frame(num_rows: int = 200) -> pl.DataFrame:
    first, second, noise = (1e4 + 1e3 * normal(3, num_rows)).tolist()
    return pl.DataFrame(
        {
            "first": first,
            "second": second,
            "note": ["text"] * num_rows,
            "sum": [a + b for a, b in zip(first, second, strict=True)],
            "kind": ["high" if a > 1e4 else "low" for a in first],
            "noise": noise,
        }
    )


def run(**changes: Any) -> Experiment:
    experiment = Experiment(frame(), **{**FAST, "features": ["first", "second"], **changes})
    list(experiment.training)
    return experiment


def test_classes_are_learnt() -> None:
    experiment = run(target="kind")
    assert (experiment.task, experiment.classes) == ("binary", ("high", "low"))
    scores = experiment.evaluate()
    assert [(name, scores[name].num_rows) for name in scores] == [("validation", 20), ("test", 20)]
    assert scores["test"].metrics["accuracy"] >= 0.85


def test_a_regression_is_learnt_in_its_own_units() -> None:
    experiment = run(target="sum")
    assert (experiment.task, experiment.classes) == ("regression", None)
    metrics = experiment.evaluate()["test"].metrics
    assert metrics["r2"] > 0.9
    assert 1 < metrics["rmse"] < 1000


def test_what_is_not_held_out_is_not_scored() -> None:
    split = SplitConfig(validation=0.0, test=0.0)
    assert run(target="kind", split=split).evaluate() == {}


def test_features_are_by_default_what_a_network_can_take() -> None:
    experiment = Experiment(frame(), target="kind", **FAST)
    assert experiment.features == ("first", "second", "sum", "noise")


def test_scales_are_fitted_on_the_training_rows_alone() -> None:
    split = SplitConfig(validation=0.3, test=0.3, seed=4)
    experiment = run(target="sum", split=split)
    rows = random_split(200, split).train
    for scale, mean, names in (
        (experiment.model.feature_scale, experiment.model.feature_mean, ["first", "second"]),
        (experiment.model.target_scale, experiment.model.target_mean, ["sum"]),
    ):
        values = frame().select(names).to_torch()[rows]
        torch.testing.assert_close(mean.view(-1), values.mean(dim=0))
        torch.testing.assert_close(scale.view(-1), values.std(dim=0, correction=0))


def test_a_saved_model_answers_as_the_experiment_scored(tmp_path: Path) -> None:
    experiment = run(target="kind")
    manifest = experiment.save(tmp_path)
    rows = random_split(200, SplitConfig()).test
    features = frame().select("first", "second").to_torch()[rows]
    targets = torch.tensor([["high", "low"].index(kind) for kind in frame()["kind"]])[rows]
    scored = Predictor.load(tmp_path).evaluate(features, targets)
    assert scored == experiment.evaluate()["test"]
    assert manifest.trained_on == experiment.fingerprint


def test_options_of_the_training_reach_the_model_that_is_saved(tmp_path: Path) -> None:
    options = {"class_weights": (5.0, 1.0), "label_smoothing": 0.1, "max_grad_norm": 1.0}
    training = FAST["training"].model_copy(
        update={**options, "ema_decay": 0.9, "precision": "bfloat16"}
    )
    experiment = run(target="kind", training=training)
    experiment.save(tmp_path)
    scored = experiment.evaluate()
    # Scored in float32 by other sums: of 20 rows, each off by some dozen roundings of 2^-24.
    last = experiment.training.history[-1]
    assert scored["validation"].metrics["log_loss"] == pytest.approx(last.validation_loss, rel=1e-4)
    assert scored["test"] != run(target="kind").evaluate()["test"]
    rows = random_split(200, SplitConfig()).test
    features = frame().select("first", "second").to_torch()[rows]
    targets = torch.tensor([["high", "low"].index(kind) for kind in frame()["kind"]])[rows]
    assert Predictor.load(tmp_path).evaluate(features, targets) == scored["test"]


def test_options_that_do_not_go_with_the_target_are_refused() -> None:
    for target, options in (
        ("sum", {"class_weights": "balanced"}),
        ("sum", {"label_smoothing": 0.1}),
        ("kind", {"class_weights": (1.0, 1.0, 1.0)}),
    ):
        with pytest.raises(ValueError, match="class"):
            Experiment(frame(), **{**FAST, "target": target, "training": TrainingConfig(**options)})


def test_an_experiment_repeats_to_the_bit(tmp_path: Path) -> None:
    first, second = (run(target="kind").save(tmp_path / name) for name in ("a", "b"))
    assert first == second


def test_an_unusable_column_is_named() -> None:
    with pytest.raises(DataError, match="'note'"):
        Experiment(frame(), target="kind", features=["note"], **FAST)
    with pytest.raises(DataError, match="'unheard of'"):
        Experiment(frame(), target="unheard of", **FAST)
