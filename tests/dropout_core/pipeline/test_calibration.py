from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from dropout_core.config import AdamConfig, MLPConfig, SplitConfig, TrainingConfig
from dropout_core.model.conformal import LevelError
from dropout_core.model.predictor import Predictor
from dropout_core.pipeline.tabular_run import TabularRun
from dropout_core.training.feasibility import InfeasibleError
from tests.support.served_models import normal, tabular_run

QUANTILES = (0.05, 0.3, 0.5, 0.7, 0.95)


def trained(
    target: str | list[str],
    *,
    num_rows: int = 600,
    quantiles: tuple[float, ...] | None = None,
    **changes: Any,
) -> TabularRun:
    """A run whose network is much too sure: it was made so."""
    x, y, noise = normal(3, num_rows)
    frame = pl.DataFrame({"x": x.numpy(), "y": y.numpy()}).with_columns(
        kind=pl.Series(["abc"[int(v)] for v in (x + noise).clamp(-1.4, 1.4).round() + 1]),
        spam=pl.Series((x + noise > 0).tolist()),
        ad=pl.Series((y - noise > 0).tolist()),
        sum=(x + y + noise).numpy(),
        large=(1_000 + 100 * x + noise).numpy(),
    )
    run = tabular_run(
        frame,
        target=["spam", "ad"] if target == "labels" else target,
        task="multilabel" if target == "labels" else None,
        features=["x", "y"],
        **{"split": SplitConfig(validation=0.3, test=0.3), **changes},
        model=MLPConfig(hidden=(64,), hidden_dropout=0.0),
        training=TrainingConfig(
            quantiles=quantiles,
            epochs=8,
            batch_size=32,
            optimizer=AdamConfig(lr=0.03),
            device="cpu",
        ),
    )
    list(run.training)
    if run.table.classes is not None:
        with torch.no_grad():
            for parameter in run.model.network.output.parameters():
                parameter.mul_(3.0)
    return run


@pytest.mark.parametrize("target", ["kind", "labels"])
def test_probabilities_that_are_too_sure_become_honest(target: str) -> None:
    run = trained(target)
    before = run.evaluate()
    run.calibrate()
    after = run.evaluate()
    assert run.description.calibration.temperature > 2
    for part in ("validation", "test"):
        losses = [scores[part].metrics["log_loss"] for scores in (before, after)]
        assert losses[1] < losses[0]
        assert after[part].metrics["accuracy"] == before[part].metrics["accuracy"]


@pytest.mark.parametrize(("target", "size"), [("kind", "mean_size"), ("sum", "mean_width")])
def test_the_coverage_of_test_rows_is_told(target: str, size: str) -> None:
    run = trained(target)
    assert run.evaluate()["test"].conformal is None
    run.calibrate()
    scores = run.evaluate()
    assert scores["validation"].conformal is None  # they would cover themselves
    assert [entry["level"] for entry in scores["test"].conformal] == [0.8, 0.9, 0.95]
    for entry in scores["test"].conformal:
        deviation = (2 * entry["level"] * (1 - entry["level"]) / 180) ** 0.5
        assert entry["coverage"] == pytest.approx(entry["level"], abs=5 * deviation)
        assert entry[size] > 0


def test_a_saved_model_keeps_its_calibration_to_the_bit(tmp_path: Path) -> None:
    for target in ("kind", "labels", "sum"):
        run = trained(target, num_rows=120)
        run.calibrate()
        run.save(tmp_path / target)
        loaded, kept = Predictor.load(tmp_path / target), Predictor(run.model, run.description)
        assert loaded.description.calibration == run.description.calibration
        rows = normal(9, 2)
        outputs = kept.outputs(rows)
        assert torch.equal(loaded.outputs(rows), outputs)
        if target == "kind":
            assert loaded.sets(outputs, level=0.8) == kept.sets(outputs, level=0.8)
        elif target == "sum":
            given = (predictor.intervals(outputs, level=0.8) for predictor in (loaded, kept))
            assert torch.equal(*given)
        else:
            assert loaded.description.calibration.num_scores == 0


def test_sets_have_the_classes_themselves_and_intervals_the_units() -> None:
    run = trained("kind")
    run.calibrate()
    predictor = Predictor(run.model, run.description)
    outputs = predictor.outputs(normal(50, 2))
    sets = predictor.sets(outputs, level=0.9)
    assert {value for found in sets for value in found} == set("abc")
    run = trained("sum")
    run.calibrate()
    predictor = Predictor(run.model, run.description)
    outputs = predictor.outputs(normal(50, 2))
    lower, upper = predictor.intervals(outputs, level=0.9)[:, 0].unbind(1)
    torch.testing.assert_close((lower + upper) / 2, outputs[:, 0])


def test_quantiles_are_predicted_and_give_intervals_that_differ_by_row() -> None:
    run = trained("sum", quantiles=QUANTILES, num_rows=1_200)
    run.calibrate()
    predictor = Predictor(run.model, run.description)
    outputs = predictor.outputs(normal(50, 2))
    assert outputs.shape == (50, 5)
    assert (outputs.diff(dim=1) >= 0).all()
    assert predictor.predictions(outputs).values == outputs[:, 2].tolist()
    intervals = predictor.intervals(outputs, level=0.9)[:, 0]
    below, above = (outputs[:, [0, 4]] - intervals).abs().unbind(1)
    torch.testing.assert_close(below, above)  # each end is moved by as much
    assert intervals.diff(dim=1).std() > 0
    scores = run.evaluate()["test"]
    assert scores.metrics["pinball_loss"] < scores.metrics["mae"] / 2
    for entry in scores.conformal:
        deviation = (2 * entry["level"] * (1 - entry["level"]) / 360) ** 0.5
        assert entry["coverage"] == pytest.approx(entry["level"], abs=5 * deviation)


def test_the_quantiles_of_several_targets_are_in_their_units() -> None:
    run = trained("sum", quantiles=(0.1, 0.9), num_rows=300)
    both = trained(["sum", "large"], quantiles=(0.1, 0.9), num_rows=300)
    torch.testing.assert_close(both.model.target_scale[:2], run.model.target_scale)
    assert torch.equal(both.model.target_scale[::2], both.model.target_scale[1::2])
    both.calibrate()
    predictor = Predictor(both.model, both.description)
    outputs = predictor.outputs(normal(50, 2))
    # The quantiles are equally near to one half: the value is the lower.
    assert predictor.values(outputs.numpy())[0] == {"sum": outputs[0, 0], "large": outputs[0, 2]}
    assert outputs[:, 2:].mean() > 900
    assert predictor.intervals(outputs, level=0.8).shape == (50, 2, 2)
    assert {part["target"] for part in both.evaluate()["test"].per_target} == {"sum", "large"}


def test_to_calibrate_again_changes_nothing() -> None:
    run = trained("kind", num_rows=120)
    run.calibrate()
    description, scores = run.description, run.model.scores
    run.calibrate()
    assert run.description == description
    assert torch.equal(run.model.scores, scores)


def test_a_run_can_take_the_calibration_of_another() -> None:
    for target in ("kind", "sum"):
        first, second = trained(target, num_rows=120), trained(target, num_rows=120)
        first.calibrate()
        second.calibrate_as(first)
        assert second.description == first.description
        matrix = normal(9, 2)
        outputs = [Predictor(r.model, r.description).outputs(matrix) for r in (first, second)]
        assert torch.equal(*outputs)
        assert torch.equal(first.model.scores, second.model.scores)


def test_without_validation_rows_it_is_refused() -> None:
    run = trained("kind", num_rows=60, split=SplitConfig(validation=0.0, test=0.3))
    with pytest.raises(InfeasibleError, match="needs validation rows") as caught:
        run.calibrate()
    assert caught.value.field == ("training", "calibrate")


def test_a_model_without_scores_says_what_to_do() -> None:
    run = trained("kind", num_rows=60)
    outputs = torch.full((1, 3), 1 / 3)
    with pytest.raises(LevelError, match="train it with `calibrate`"):
        Predictor(run.model, run.description).sets(outputs, level=0.9)
    run = trained("labels", num_rows=60)
    run.calibrate()
    with pytest.raises(LevelError, match="multilabel"):
        Predictor(run.model, run.description).sets(outputs, level=0.9)


def test_a_network_whose_outputs_are_not_finite_is_left_as_it_is() -> None:
    run = trained("kind", num_rows=60)
    with torch.no_grad():
        run.model.network.output.weight.fill_(float("nan"))
    run.calibrate()
    assert run.description.calibration.temperature == 1.0
