from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from dropout_core.config import (
    AdamConfig,
    EarlyStoppingConfig,
    MLPConfig,
    ProblemConfig,
    SplitConfig,
    TrainingConfig,
)
from dropout_core.data.labels import LabelColumn
from dropout_core.data.splits import split_rows
from dropout_core.errors import DataError
from dropout_core.evaluation.evaluator import evaluate
from dropout_core.model.predictor import Predictor
from dropout_core.pipeline.resolved_table import resolve_table
from dropout_core.pipeline.tabular_run import TabularRun
from tests.support.served_models import normal, tabular_run

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


def trained_run(**changes: Any) -> TabularRun:
    table = changes.pop("frame", None)
    chosen = {**FAST, "features": ["first", "second"], **changes}
    run = tabular_run(frame() if table is None else table, **chosen)
    list(run.training)
    return run


def test_classes_are_learnt() -> None:
    run = trained_run(target="kind")
    assert (run.table.task, run.table.classes) == ("binary", ("high", "low"))
    scores = run.evaluate()
    assert [(name, scores[name].num_rows) for name in scores] == [("validation", 20), ("test", 20)]
    assert scores["test"].metrics["accuracy"] >= 0.85


def test_a_regression_is_learnt_in_its_own_units() -> None:
    run = trained_run(target="sum")
    assert (run.table.task, run.table.classes) == ("regression", None)
    metrics = run.evaluate()["test"].metrics
    assert metrics["r2"] > 0.9
    assert 1 < metrics["rmse"] < 1000


def test_what_is_not_held_out_is_not_scored() -> None:
    split = SplitConfig(validation=0.0, test=0.0)
    assert trained_run(target="kind", split=split).evaluate() == {}


def test_features_are_by_default_what_a_network_can_take() -> None:
    run = tabular_run(frame(), target="kind", **FAST)
    assert run.description.features == ("first", "second", "sum", "noise")


def test_scales_are_fitted_on_the_training_rows_alone() -> None:
    split = SplitConfig(validation=0.3, test=0.3, seed=4)
    run = trained_run(target="sum", split=split)
    rows = split_rows(frame(), split).train
    of_features = run.model.preprocessing.scale
    for scale, mean, names in (
        (of_features.deviation, of_features.mean, ["first", "second"]),
        (run.model.target_scale, run.model.target_mean, ["sum"]),
    ):
        values = frame().select(names).to_torch()[rows]
        torch.testing.assert_close(mean, values.mean(dim=0))
        torch.testing.assert_close(scale, values.std(dim=0, correction=0))


def test_a_saved_model_answers_as_the_run_scored(tmp_path: Path) -> None:
    run = trained_run(target="kind")
    manifest = run.save(tmp_path)
    rows = run.table.split.test.numpy()
    assert evaluate(Predictor.load(tmp_path), frame()[rows]) == run.evaluate()["test"]
    assert manifest.trained_on == run.description.trained_on


def mixed(num_rows: int = 400) -> pl.DataFrame:
    """Words, dates, booleans and holes, from all of which the targets follow."""
    size, town, day, new, gap = normal(5, num_rows).abs().tolist()
    towns = [f"town {int(40 * t) % 40:02}" for t in town]
    days = [date(2024, 1, 1) + timedelta(days=int(100 * d)) for d in day]
    known = [None if g > 1.3 else s for s, g in zip(size, gap, strict=True)]
    price = [
        10 * s + int(t[-2:]) + 5 * (n > 0.7) + d.month
        for s, t, n, d in zip(size, towns, new, days, strict=True)
    ]
    return pl.DataFrame(
        {
            "size": known,
            "town": towns,
            "kind": ["flat" if g > 1.3 else None if g > 1 else "house" for g in gap],
            "day": days,
            "new": [n > 0.7 for n in new],
            "price": price,
            "rent": [0.003 * p + 1 for p in price],
            "dear": [p > 40 for p in price],
            "cheap": [p < 20 for p in price],
            "weight": [1.0 + (g < 1) for g in gap],
        }
    )


MIXED = ["size", "town", "kind", "day", "new"]


def test_a_mixed_table_is_learnt_and_predicted_with_no_preparation(tmp_path: Path) -> None:
    table = mixed()
    run = trained_run(frame=table, target="price", features=MIXED)
    assert run.evaluate()["test"].metrics["r2"] > 0.5
    run.save(tmp_path)
    predictor = Predictor.load(tmp_path)
    rows = split_rows(table, SplitConfig()).test.numpy()
    assert evaluate(predictor, table[rows]) == run.evaluate()["test"]
    odd = {"size": None, "town": "nowhere", "kind": None, "day": "2031-05-06", "new": False}
    known = odd | {"town": "town 03", "size": 0.5}
    encoder = predictor.description.encoder
    values = [predictor.predict(encoder.frame_of([row])).values[0] for row in (odd, known)]
    assert predictor.predict(encoder.frame_of([odd, known])).values == values
    assert values[0] != values[1]


def test_several_targets_are_learnt_at_once() -> None:
    table = mixed()
    regression = trained_run(frame=table, target=["price", "rent"], features=MIXED)
    assert (regression.table.task, regression.table.classes) == ("regression", None)
    evaluation = regression.evaluate()["test"]
    price, rent = evaluation.per_target
    assert price["r2"] > 0.5
    assert rent["rmse"] < 0.1 * price["rmse"]  # each in its own units
    labels = trained_run(frame=table, target=["dear", "cheap"], features=MIXED)
    assert (labels.table.task, labels.table.classes) == ("multilabel", ("dear", "cheap"))
    assert labels.evaluate()["test"].metrics["roc_auc"] > 0.8


def test_a_column_that_lists_labels_trains_as_a_column_for_each_label(tmp_path: Path) -> None:
    table = mixed()
    columns = table.select("dear", "cheap").rows(named=True)
    cells = [" ; ".join(name for name, has in row.items() if has) or ";" for row in columns]
    listed = table.drop("dear", "cheap").with_columns(pl.Series("tags", cells))
    few: Any = {"features": MIXED, "training": TrainingConfig(epochs=2, device="cpu")}
    run = trained_run(frame=listed, target="tags", target_delimiter=";", **few)
    same = trained_run(frame=table, target=["cheap", "dear"], **few)
    assert (run.table.task, run.table.classes) == ("multilabel", ("cheap", "dear"))
    assert run.evaluate() == same.evaluate()
    manifest = run.save(tmp_path)
    assert manifest.label_column == LabelColumn(name="tags", delimiter=";")
    predictor = Predictor.load(tmp_path)
    assert evaluate(predictor, listed) == evaluate(predictor, table)
    row = {"size": 0.5, "town": "town 03", "kind": None, "day": "2024-03-01", "new": False}
    row |= {"tags": "listed or not"}
    assert list(predictor.predict(predictor.frame_of([row])).values[0]) == ["cheap", "dear"]
    hole = listed.with_columns(pl.Series("tags", [None, *cells[1:]]))
    warned = resolve_table(hole, ProblemConfig(target="tags", target_delimiter=";"))
    assert "each column of 'cheap', 'dear': 1 row is left out, having no target" in warned.warnings


def test_what_preprocessing_fits_is_of_the_training_rows_alone() -> None:
    table = mixed()
    split = SplitConfig(seed=3)
    train = split_rows(table, split).train.numpy()
    held_out = table.with_row_index().filter(~pl.col("index").is_in(train))["index"]
    changed = table.with_row_index().with_columns(
        pl.when(pl.col("index").is_in(held_out.implode()))
        .then(pl.lit(None))
        .otherwise(pl.col(name))
        .alias(name)
        for name in ("size", "town")
    )
    first, second = (
        trained_run(
            frame=frame.drop("index", strict=False), target="price", features=MIXED, split=split
        )
        for frame in (table, changed)
    )
    assert first.description == second.description
    for name, tensor in first.model.preprocessing.state_dict().items():
        assert torch.equal(second.model.preprocessing.state_dict()[name], tensor)


def test_rows_without_a_target_are_left_out() -> None:
    table = mixed()
    gaps = pl.Series([row % 9 == 0 for row in range(len(table))])
    with_gaps = table.with_columns(
        pl.when(gaps).then(None).otherwise(pl.col("price")).alias("price")
    )
    holes = trained_run(frame=with_gaps, target="price", features=MIXED)
    without = trained_run(frame=table.filter(~gaps), target="price", features=MIXED)
    assert holes.evaluate() == without.evaluate()


def test_weights_of_rows_reach_the_loss() -> None:
    table = mixed()
    plain, same, weighted = (
        trained_run(
            frame=table.with_columns(weight=weight), target="price", features=MIXED, weight=name
        )
        for weight, name in ((pl.lit(1.0), None), (pl.lit(3.0), "weight"), ("weight", "weight"))
    )
    assert plain.evaluate() == same.evaluate()  # what all weigh alike is no weight
    assert plain.evaluate() != weighted.evaluate()
    with pytest.raises(DataError, match="all weights are 0"):
        trained_run(
            frame=table.with_columns(weight=0.0), target="price", features=MIXED, weight="weight"
        )


def test_folds_hold_every_row_out_once_and_repeat_to_the_bit() -> None:
    split = SplitConfig(test=0.2, folds=3, seed=1)
    training = FAST["training"].model_copy(update={"epochs": 5})
    run = trained_run(frame=mixed(), target="price", features=MIXED, split=split, training=training)
    scores = []
    for _ in range(2):
        folds = [run.fold(number) for number in range(3)]
        for fold in folds:
            list(fold.training)
        scores.append([fold.evaluate()["test"] for fold in folds])
    assert scores[0] == scores[1]
    assert sum(score.num_rows for score in scores[0]) == 400 - run.evaluate()["test"].num_rows
    assert len({score.metrics["rmse"] for score in scores[0]}) == 3


def test_a_refit_fits_everything_on_training_and_validation_rows() -> None:
    split = SplitConfig(validation=0.3, test=0.2, seed=4)
    stopping = EarlyStoppingConfig(patience=5, refit=True)
    training = FAST["training"].model_copy(update={"early_stopping": stopping})
    first = trained_run(target="sum", split=split, training=training)
    refit = first.refit()
    assert len(list(refit.training)) > 0
    rows = torch.cat([first.table.split.train, first.table.split.validation])
    values = frame().select("sum").to_torch()[rows]
    torch.testing.assert_close(refit.model.target_mean, values.mean(dim=0))
    names = ["first", "second"]
    features = frame().select(names).to_torch()[rows]
    torch.testing.assert_close(refit.model.preprocessing.scale.mean, features.mean(dim=0))
    assert refit.training.data.validation_features is None
    assert len(refit.training.data.train_features) == 160
    assert list(refit.evaluate()) == ["test"]
    assert refit.evaluate()["test"].num_rows == first.evaluate()["test"].num_rows
    num_steps = first.training.refit_length.num_steps
    assert len(refit.training.history) == -(-num_steps // refit.training.num_batches)


def test_a_fold_is_refitted_on_all_rows_but_its_own() -> None:
    stopping = EarlyStoppingConfig(patience=1, refit=True)
    training = FAST["training"].model_copy(update={"epochs": 2, "early_stopping": stopping})
    run = trained_run(target="kind", split=SplitConfig(folds=3), training=training)
    fold = run.fold(1)
    list(fold.training)
    refit = fold.refit()
    held_out = run.table.folds[1].test
    assert refit.evaluate()["test"].num_rows == len(held_out)
    assert len(refit.training.data.train_features) == 180 - len(held_out)


def test_options_of_the_training_reach_the_model_that_is_saved(tmp_path: Path) -> None:
    options = {"class_weights": (5.0, 1.0), "label_smoothing": 0.1, "max_grad_norm": 1.0}
    training = FAST["training"].model_copy(
        update={**options, "ema_decay": 0.9, "precision": "bfloat16"}
    )
    run = trained_run(target="kind", training=training)
    run.save(tmp_path)
    scored = run.evaluate()
    # Scored in float32 by other sums: of 20 rows, each off by some dozen roundings of 2^-24.
    last = run.training.history[-1]
    assert scored["validation"].metrics["log_loss"] == pytest.approx(last.validation_loss, rel=1e-4)
    assert scored["test"] != trained_run(target="kind").evaluate()["test"]
    rows = run.table.split.test.numpy()
    assert evaluate(Predictor.load(tmp_path), frame()[rows]) == scored["test"]


def test_options_that_do_not_go_with_the_target_are_refused() -> None:
    for target, options in (
        ("sum", {"class_weights": "balanced"}),
        ("sum", {"label_smoothing": 0.1}),
        ("kind", {"class_weights": (1.0, 1.0, 1.0)}),
    ):
        with pytest.raises(ValueError, match="class"):
            tabular_run(
                frame(), **{**FAST, "target": target, "training": TrainingConfig(**options)}
            )


def test_a_run_repeats_to_the_bit(tmp_path: Path) -> None:
    first, second = (trained_run(target="kind").save(tmp_path / name) for name in ("a", "b"))
    assert first == second


def test_an_unusable_column_is_named() -> None:
    with pytest.raises(DataError, match="'unheard of'"):
        tabular_run(frame(), target="unheard of", **FAST)


def test_folds_that_cannot_be_made_are_told_before_anything_is_trained() -> None:
    split = SplitConfig(kind="grouped", column="town", validation=0.1, folds=2)
    few = mixed(60).with_columns(town=pl.Series(["a", "b", "c"] * 20))
    with pytest.raises(DataError, match="groups are too few"):
        trained_run(frame=few, target="price", features=["size"], split=split)


def test_rows_are_not_split_by_their_target() -> None:
    split = SplitConfig(kind="grouped", column="price")
    with pytest.raises(DataError, match="not split by their target"):
        trained_run(frame=mixed(60), target="price", features=["size"], split=split)


def test_columns_of_other_types_count_as_what_is_stored_of_them() -> None:
    table = mixed(200)
    odd = table.with_columns(
        pl.col("size").cast(pl.Float32).fill_null(float("nan")),
        pl.col("town").cast(pl.Categorical),
        pl.col("price").cast(pl.Float32),
    )
    assert trained_run(frame=odd, target="price", features=MIXED).description.features == tuple(
        MIXED
    )


def test_weights_of_any_size_weigh() -> None:
    table, options = mixed(100), {"features": ["size", "new"], "weight": "weight"}
    first, same = (
        trained_run(frame=table.with_columns(unit * pl.col("weight")), target="price", **options)
        for unit in (1.0, 5e307)
    )
    assert first.evaluate() == same.evaluate()
