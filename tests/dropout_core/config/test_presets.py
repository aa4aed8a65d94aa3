import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from dropout_core.config import (
    AdamWConfig,
    DropoutConfig,
    EarlyStoppingConfig,
    MLPConfig,
    PreprocessingConfig,
    SGDConfig,
    Task,
    TrainingConfig,
)
from dropout_core.config.presets import (
    FEW_ROWS,
    FULL_RATE_ROWS,
    GOALS_OF,
    LABEL_SMOOTHING,
    MAX_EMBEDDED_COLUMNS,
    PRESETS,
    SUMMARIES,
    Goal,
    Preset,
    Recipe,
    overlaid,
    settled,
)


def recipe(name: Preset = "default", task: Task = "binary", **options: Any) -> Recipe:
    return settled(name, task=task, **{"num_rows": 1000, "num_columns": 10, **options})


def stopping_of(recipe: Recipe) -> EarlyStoppingConfig:
    assert recipe.training.early_stopping is not None
    return recipe.training.early_stopping


@pytest.mark.parametrize("task", get_args(Task))
@pytest.mark.parametrize("num_columns", [1, 100_000])
@pytest.mark.parametrize("num_rows", [1, 10_000_000])
@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_is_valid_for_each_table(
    name: Preset, num_rows: int, num_columns: int, task: Task
) -> None:
    for goal in (None, *GOALS_OF[task]):
        found = settled(
            name, task=task, num_rows=num_rows, num_columns=num_columns, optimise_for=goal
        )
        again = settled(
            name,
            task=task,
            num_rows=1,
            num_columns=1,
            optimise_for=goal,
            preprocessing=PreprocessingConfig.model_validate(every_field(found.preprocessing)),
            model=MLPConfig.model_validate(every_field(found.model)),
            training=TrainingConfig.model_validate(every_field(found.training)),
        )
        assert again == found, "a recipe given whole is the recipe"


def every_field(config: Any) -> dict[str, Any]:
    return {name: getattr(config, name) for name in type(config).model_fields}


def test_each_preset_has_a_summary() -> None:
    assert tuple(SUMMARIES) == PRESETS


def test_plain_is_the_default_of_every_field() -> None:
    plain = Recipe(PreprocessingConfig(), MLPConfig(), TrainingConfig())
    assert recipe("plain") == recipe("plain", "regression", has_validation=False) == plain


def test_the_presets_differ_in_their_cost() -> None:
    fast, default, best = (recipe(name) for name in ("fast", "default", "best"))
    assert fast.training.epochs < default.training.epochs
    assert fast.model.members < default.model.members < best.model.members
    assert stopping_of(best).refit
    assert not stopping_of(default).refit


def test_numbers_are_embedded_where_there_are_some_and_not_very_many() -> None:
    assert recipe().preprocessing.number_embedding is not None
    assert recipe(has_numbers=False).preprocessing.number_embedding is None
    many = recipe(num_columns=MAX_EMBEDDED_COLUMNS + 1)
    assert many.preprocessing.number_embedding is None


def test_a_large_table_has_larger_batches_and_fewer_epochs() -> None:
    lengths = [
        (found.training.epochs, found.training.batch_size)
        for num_rows in (1_000, 1_001, 2_500, 2_501, 20_000, 20_001, 100_000, 100_001)
        for found in [recipe(num_rows=num_rows)]
    ]
    expected = [
        (192, 256),
        (128, 256),
        (128, 256),
        (64, 256),
        (64, 256),
        (32, 512),
        (32, 512),
        (16, 1024),
    ]
    assert lengths == expected


def test_few_rows_have_narrower_networks() -> None:
    few, many = recipe(num_rows=2_500), recipe(num_rows=2_501)
    assert recipe("best", num_rows=2_500).model.hidden == few.model.hidden
    assert min(recipe("best", num_rows=2_501).model.hidden) > min(many.model.hidden)


@pytest.mark.parametrize(("task", "rate"), [("binary", 0.04), ("regression", 0.2)])
def test_few_rows_have_a_smaller_rate_and_as_much_decay_a_step(task: Task, rate: float) -> None:
    for num_rows, share in ((1, 0.25), (1_000, 0.25), (2_000, 0.5), (4_000, 1), (10**6, 1)):
        optimizer = recipe(task=task, num_rows=num_rows).training.optimizer
        assert optimizer.lr == pytest.approx(share * rate)
        assert optimizer.lr * optimizer.weight_decay == pytest.approx(0.08 * rate)


def test_numbers_of_few_rows_have_periodic_embeddings() -> None:
    kinds = [recipe(num_rows=rows).preprocessing.number_embedding for rows in (1000, 1001)]
    assert [kind and kind.kind for kind in kinds] == ["periodic", "piecewise_linear"]


@pytest.mark.parametrize(
    ("goal", "monitor", "smoothing", "loss"),
    [
        (None, "validation_loss", 0.0, "squared"),
        ("accuracy", "accuracy", LABEL_SMOOTHING, "squared"),
        ("log_loss", "validation_loss", 0.0, "squared"),
        ("roc_auc", "roc_auc", 0.0, "squared"),
        ("rmse", "validation_loss", 0.0, "squared"),
        ("mae", "mae", 0.0, "absolute"),
    ],
)
def test_a_goal_decides_what_is_watched_and_minimised(
    goal: Goal | None, monitor: str, smoothing: float, loss: str
) -> None:
    task: Task = "regression" if goal in GOALS_OF["regression"] else "multiclass"
    found = recipe(task=task, optimise_for=goal)
    assert stopping_of(found).monitor == monitor
    assert (found.training.label_smoothing, found.training.loss) == (smoothing, loss)


def test_labels_are_not_smoothed() -> None:
    found = recipe(task="multilabel", optimise_for="accuracy")
    assert (stopping_of(found).monitor, found.training.label_smoothing) == ("accuracy", 0.0)


def test_a_goal_leaves_what_is_given() -> None:
    stopping = EarlyStoppingConfig(monitor="f1")
    given = TrainingConfig(early_stopping=stopping, label_smoothing=0.2)
    training = recipe(optimise_for="accuracy", training=given).training
    assert training.early_stopping is not None
    assert (training.early_stopping.monitor, training.label_smoothing) == ("f1", 0.2)
    quantiles = recipe(
        task="regression", optimise_for="mae", training={"quantiles": (0.1, 0.5)}
    ).training
    assert quantiles.loss == "squared", "quantiles have a loss of their own"


def test_a_goal_of_plain_watches_what_the_job_asks_to_watch() -> None:
    plain = recipe("plain", optimise_for="roc_auc")
    assert plain.training.early_stopping is None
    given = TrainingConfig(early_stopping=EarlyStoppingConfig(patience=2))
    assert stopping_of(recipe("plain", training=given)).monitor is None
    assert stopping_of(recipe("plain", optimise_for="roc_auc", training=given)).monitor == "roc_auc"


@pytest.mark.parametrize("task", get_args(Task))
def test_a_goal_that_the_task_does_not_have_is_refused(task: Task) -> None:
    for goal in set(get_args(Goal)) - set(GOALS_OF[task]):
        with pytest.raises(ValueError, match=f"a {task} task can be optimised for "):
            recipe(task=task, optimise_for=goal)


def test_a_preset_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no preset 'worst': there are fast, default"):
        recipe("worst")  # type: ignore[arg-type]


def test_without_validation_rows_nothing_is_done_that_needs_them() -> None:
    training = recipe("best", has_validation=False).training
    assert (training.early_stopping, training.calibrate) == (None, False)


def test_given_fields_stand_in_place_of_the_presets() -> None:
    found = recipe(
        model=MLPConfig(hidden=(16,), parametric_activation=False),
        preprocessing={"number_embedding": None},
        training={"seed": 7, "early_stopping": {"patience": 3}},
    )
    standing = recipe()
    assert found.model.hidden == (16,)
    assert not found.model.parametric_activation, "also where the field's own default is given"
    assert found.model.hidden_dropout == standing.model.hidden_dropout[:1]
    assert found.preprocessing == standing.preprocessing.model_copy(
        update={"number_embedding": None}
    )
    assert found.training.seed == 7
    assert stopping_of(found).patience == 3
    assert stopping_of(found).ties == stopping_of(standing).ties


def test_one_dropout_is_for_the_layers_of_the_preset() -> None:
    found = recipe(model=MLPConfig(hidden_dropout=0.4))
    assert found.model.hidden_dropout == (DropoutConfig(p=0.4),) * len(found.model.hidden)


def test_an_object_of_the_same_name_is_merged_and_another_replaces_it() -> None:
    standing = recipe().training.optimizer
    assert isinstance(standing, AdamWConfig)
    merged = recipe(training={"optimizer": {"name": "adamw", "lr": 0.5}}).training.optimizer
    assert merged == standing.model_copy(update={"lr": 0.5})
    other = recipe(training=TrainingConfig(optimizer=SGDConfig(lr=0.5))).training.optimizer
    assert other == SGDConfig(lr=0.5)
    assert overlaid({"e": {"kind": "a", "dim": 1}}, {"e": {"kind": "b"}}) == {"e": {"kind": "b"}}
    assert overlaid({"e": {"kind": "a", "dim": 1}}, {"e": None}) == {"e": None}


def test_what_is_given_is_left_as_it_is() -> None:
    given = {"early_stopping": {"patience": 3}}
    recipe("plain", training=given, optimise_for="accuracy")
    assert given == {"early_stopping": {"patience": 3}}


def test_values_that_do_not_fit_each_other_are_refused_where_they_stand() -> None:
    with pytest.raises(ValidationError) as caught:
        recipe(model={"hidden_dropout": [0.1]})
    assert caught.value.errors()[0]["loc"] == ("model", "hidden_dropout")


DOCUMENT = (Path(__file__).parents[3] / "docs" / "presets.md").read_text()


def documented(name: Preset) -> dict[str, Any]:
    """The values of a preset in the document's table, by their paths."""
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in DOCUMENT.splitlines()
        if re.match(r"\| `(preprocessing|model|training)\.", line)
    ]
    column = ("fast", "default", "best").index(name) + 1
    return {row[0]: json.loads(row[column] or "null") for row in rows}


def value_at(path: str, config: Any) -> Any:
    """The value of a config as JSON; null where an object on the way is."""
    value = config.every_value()
    for part in path.split("."):
        if value is not None:
            value = value[int(part)] if part.isdigit() else value[part]
    return value


@pytest.mark.parametrize("name", ["fast", "default", "best"])
def test_the_document_has_each_value_that_is_not_its_fields_default(name: Preset) -> None:
    told = documented(name)
    for section, config in (
        settled(name, task="binary", num_rows=10_000, num_columns=30)._asdict().items()
    ):
        paths = {path: path.partition(".")[2] for path in told if path.startswith(f"{section}.")}
        for path, within in paths.items():
            assert told[path] == value_at(within, config), path
        fields = {within.partition(".")[0] for within in paths.values()}
        standard = type(config)().every_value()
        changed = {
            field for field, value in config.every_value().items() if value != standard[field]
        }
        assert changed <= fields


def test_the_document_says_what_depends_on_the_table() -> None:
    assert f"more than {MAX_EMBEDDED_COLUMNS} features" in DOCUMENT
    assert f"fewer than {FULL_RATE_ROWS:,} training rows" in DOCUMENT
    assert f"at most {FEW_ROWS:,} training rows" in DOCUMENT
    for goal in get_args(Goal):
        assert f"| `{goal}` |" in DOCUMENT
