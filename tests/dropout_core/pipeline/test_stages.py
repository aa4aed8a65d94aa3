"""Each stage alone: what its result promises to the next one."""

from typing import Any

import polars as pl
import pytest
import torch

from dropout_core.config import (
    FeatureType,
    MLPConfig,
    PreprocessingConfig,
    ProblemConfig,
    SplitConfig,
    TrainingConfig,
)
from dropout_core.data.splits import Split
from dropout_core.errors import DataError
from dropout_core.pipeline.encoded_split import EncodedSplit, encode_split
from dropout_core.pipeline.prepared_model import prepare_model
from dropout_core.pipeline.resolved_table import resolve_table
from dropout_core.training.feasibility import InfeasibleError
from dropout_core.training.loop import train

FRAME = pl.DataFrame(
    {
        "size": [1.0, 2.0, None, 4.0, 5.0, 6.0, 7.0, 8.0],
        "town": ["a", "b", "a", "b", "c", "a", "b", "c"],
        "kind": ["x", "y", "x", None, "x", "y", "x", "y"],
        "rent": [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0],
        "new": [True, False, True, True, False, True, False, True],
        "weight": [0.0, 0.0, 1.0, 2.0, 3.0, 1.0, 1.0, 1.0],
    }
)
FEATURES = ("size", "town")
SPLIT = Split(torch.tensor([0, 2, 3, 5]), torch.tensor([1, 7]), torch.tensor([4, 6]))


def problem(target: Any = "rent", **fields: Any) -> ProblemConfig:
    return ProblemConfig(target=target, features=FEATURES, **fields)


def encoded(
    target: Any = "rent", *, split: Split = SPLIT, table: pl.DataFrame = FRAME, **fields: Any
) -> EncodedSplit:
    resolved = resolve_table(table, problem(target, **fields))
    return encode_split(resolved, split, PreprocessingConfig())


def test_a_resolved_table_has_the_rows_with_a_target_and_every_choice_made() -> None:
    table = resolve_table(FRAME, problem("kind", weight="weight"))
    assert (table.task, table.classes, table.output_names) == ("binary", ("x", "y"), ("x", "y"))
    assert table.selection.features == {"size": "numeric", "town": "categorical"}
    assert table.frame["rent"].to_list() == [10.0, 20.0, 30.0, 50.0, 60.0, 70.0, 80.0]
    assert table.targets.tolist() == [0, 1, 0, 0, 1, 0, 1]
    assert table.weights is not None
    assert table.weights.tolist() == [0.0, 0.0, 1.0, 3.0, 1.0, 1.0, 1.0]
    rows = torch.cat([table.split.train, table.split.validation, table.split.test])
    assert rows.sort().values.tolist() == list(range(7))
    assert table.folds == ()


def test_bins_of_numbers_are_between_quantiles_of_the_scaled_training_rows() -> None:
    config = {"kind": "piecewise_linear", "bins": 2, "dim": 1}
    table = resolve_table(FRAME, ProblemConfig(target="kind", features=("rent",)))
    split = Split(torch.tensor([0, 1, 2, 3]), torch.tensor([4]), torch.tensor([5, 6]))
    preprocessing = PreprocessingConfig(scale="minmax", number_embedding=config)
    prepared = prepare_model(encode_split(table, split, preprocessing), MLPConfig())
    numbers = prepared.model.network.inputs.numbers  # type: ignore[union-attr]
    torch.testing.assert_close(numbers.lower, torch.tensor([[0.0, 0.375]]))  # of 10, 20, 30, 50
    torch.testing.assert_close(numbers.width, torch.tensor([[0.375, 0.625]]))


def test_numbers_to_embed_have_to_be_there() -> None:
    table = resolve_table(FRAME, ProblemConfig(target="rent", features=("town",)))
    preprocessing = PreprocessingConfig(number_embedding={"kind": "periodic"})
    with pytest.raises(InfeasibleError, match="no numbers to embed"):
        prepare_model(encode_split(table, SPLIT, preprocessing), MLPConfig())


def test_a_resolved_table_has_the_folds_of_its_problem() -> None:
    table = resolve_table(FRAME, problem(split=SplitConfig(test=0.25, validation=0.2, folds=3)))
    tested = torch.cat([fold.test for fold in table.folds]).sort().values.tolist()
    assert (len(table.folds), len(tested)) == (3, 6)
    assert set(tested) | set(table.split.test.tolist()) == set(range(8))


@pytest.mark.parametrize(
    ("target", "task", "names", "targets"),
    [
        (("rent", "size"), "regression", ("rent", "size"), [10.0, 1.0]),
        (("new",), "binary", (False, True), 1),
    ],
)
def test_targets_are_what_a_model_is_scored_against(
    target: tuple[str, ...], task: str, names: tuple[object, ...], targets: Any
) -> None:
    table = resolve_table(FRAME, ProblemConfig(target=target, features=("town",)))
    assert (table.task, table.output_names) == (task, names)
    assert table.targets[0].tolist() == targets


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({"target": "price"}, "the data has no such column", "target"),
        ({"target": "rent", "features": ("rent",)}, "the target cannot be a feature", "features"),
        ({"target": "rent", "types": {"town": "numeric"}}, "is a number", "types"),
        ({"target": "rent", "weight": "town"}, "a weight has to be a number", "weight"),
        ({"target": "rent", "task": "binary"}, "a binary target has 2 classes", "target"),
        (
            {"target": "rent", "split": SplitConfig(kind="time", column="town")},
            "has to be a date or a number",
            "split",
        ),
    ],
)
def test_a_problem_that_does_not_fit_the_table_is_refused_with_its_field(
    fields: dict[str, Any], reason: str, field: str
) -> None:
    with pytest.raises(DataError, match=reason) as caught:
        resolve_table(FRAME, ProblemConfig(**fields))
    assert caught.value.field == field


def test_an_encoded_split_holds_each_part_and_was_fitted_on_training_rows() -> None:
    split = encoded()
    assert [len(part) for part in (split.train, split.validation, split.test)] == [4, 2, 2]
    assert split.test.targets.tolist() == [[50.0], [70.0]]
    assert split.train.matrix[:, 0].isnan().tolist() == [False, True, False, False]
    # Town c is in no training row, so it has the code of unknown categories.
    codes = {part: getattr(split, part).matrix[:, 1].tolist() for part in ("train", "test")}
    assert codes["test"][0] == 0
    assert codes["test"][1] == codes["train"][2] != 0


def test_weights_are_relative_to_their_mean_over_the_training_rows() -> None:
    split = encoded(weight="weight")
    assert split.weights is not None
    assert split.weights.dtype == torch.float32
    torch.testing.assert_close(split.weights, torch.tensor([0.0, 1.0, 2.0, 1.0]))
    assert encoded().weights is None


def test_training_rows_that_all_weigh_0_are_refused() -> None:
    rows = Split(torch.tensor([0, 1]), torch.tensor([2, 3]), torch.tensor([4, 5, 6, 7]))
    with pytest.raises(DataError, match="the weights of all training rows are 0") as caught:
        encoded(split=rows, weight="weight")
    assert caught.value.field == "weight"


def test_a_cell_that_is_not_of_its_type_is_refused() -> None:
    types: dict[str, FeatureType] = {"size": "boolean"}
    with pytest.raises(DataError, match="size"):
        encoded(types=types)


def test_a_prepared_model_has_scaled_data_and_the_weights_of_its_seed() -> None:
    split = encoded(weight="weight")
    first, same, other = (prepare_model(split, MLPConfig(hidden=(4,)), seed=s) for s in (1, 1, 2))
    data = first.data
    assert data.train_features.shape == (4, first.model.preprocessing.out_features)
    assert data.train_weights is not None
    of_rows = data.train_weights[:, None] / data.train_weights.sum()
    torch.testing.assert_close((of_rows * data.train_targets).sum(), torch.tensor(0.0))
    torch.testing.assert_close((of_rows * data.train_targets.square()).sum(), torch.tensor(1.0))
    assert data.validation_targets is not None
    assert data.validation_targets.shape == (2, 1)
    assert data.train_weights is split.weights
    weights = [dict(one.model.network.named_parameters()) for one in (first, same, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_without_validation_rows_there_is_no_validation_data() -> None:
    none = torch.tensor([], dtype=torch.int64)
    prepared = prepare_model(encoded(split=Split(torch.arange(8), none, none)), MLPConfig())
    assert (prepared.data.validation_features, prepared.data.validation_targets) == (None, None)


def test_the_stages_end_in_a_training_of_the_models_network() -> None:
    prepared = prepare_model(encoded(), MLPConfig(hidden=(4,)))
    before = prepared.model.network.output.weight.clone()
    config = TrainingConfig(epochs=2, device="cpu")
    training = train(prepared.model.network, prepared.data, config, task="regression")
    assert [metrics.epoch for metrics in training] == [1, 2]
    assert not torch.equal(prepared.model.network.output.weight, before)


@pytest.mark.parametrize("kind", ["random", "grouped"])
def test_a_class_that_no_training_row_has_is_told(kind: Any) -> None:
    frame = pl.DataFrame({"size": range(40), "kind": ["x", "y"] * 19 + ["z", "w"]})
    column = "size" if kind == "grouped" else None
    told = set()
    for seed in range(9):
        split = SplitConfig(kind=kind, column=column, seed=seed, folds=2)
        table = resolve_table(frame, ProblemConfig(target="kind", features=("size",), split=split))
        trained = {table.classes[i] for i in table.targets[table.split.train].tolist()}  # type: ignore[index]
        missing = [name for name in ("w", "z") if name not in trained]
        of_all = [text for text in table.warnings if text.startswith("no training row has the ")]
        assert len(of_all) == bool(missing)
        assert all(repr(name) in text for text in of_all for name in missing)
        assert any(
            "no training row of fold 0" in text or "of fold 1" in text for text in table.warnings
        )
        told |= set(missing)
    assert told == {"w", "z"}


def test_a_class_is_told_whose_training_rows_weigh_nothing() -> None:
    weight = [0.0, 1.0] * 20
    frame = pl.DataFrame({"size": range(40), "kind": ["x", "y"] * 20, "weight": weight})
    table = resolve_table(frame, ProblemConfig(target="kind", weight="weight", features=("size",)))
    assert table.warnings == ("no training row has the class 'x': nothing is learned of it",)
    with_labels = frame.select("size", a=pl.col("weight"), b=pl.col("weight").reverse())
    split = SplitConfig(kind="time", column="size", validation=0.0, test=0.95)
    problem = ProblemConfig(target=("a", "b"), features=("size",), task="multilabel", split=split)
    assert resolve_table(with_labels, problem).warnings == ()
    split = split.model_copy(update={"test": 0.98})
    assert resolve_table(with_labels, problem.model_copy(update={"split": split})).warnings == (
        "each training row has the same value of 'a', 'b': nothing is learned",
    )
