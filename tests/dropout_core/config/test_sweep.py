import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dropout_core.config.metrics import HIGHER_IS_BETTER
from dropout_core.config.sweep import Objective, SweepConfig
from tests.support.sweeps import SPACE

CHOICE = {"choice": [1, 2]}


def flaw(**changes: Any) -> tuple[tuple[str | int, ...], str]:
    """Return the location and the text of the only error."""
    with pytest.raises(ValidationError) as error:
        SweepConfig.model_validate({"space": {"/a": CHOICE}, **changes})
    (found,) = error.value.errors()
    return found["loc"], found["msg"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"space": SPACE},
        {"sampler": "grid", "repeats": 3, "seed": 2**53 - 1, "max_parallel": 4},
        {"pruner": "hyperband", "objective": "roc_auc"},
        {"pruner": {"name": "successive_halving", "reduction": 2}, "budget": {"seconds": 9.5}},
        {"objective": ["cross_validation.rmse", {"metric": "num_parameters"}]},
        {"objective": {"metric": "accuracy", "direction": "minimize"}, "sampler": "tpe"},
    ],
)
def test_a_config_survives_json(changes: dict[str, Any]) -> None:
    config = SweepConfig.model_validate({"space": {"/a": CHOICE}, **changes})
    assert SweepConfig.model_validate_json(config.model_dump_json()) == config


def test_short_forms_mean_their_long_ones() -> None:
    config = SweepConfig.model_validate(
        {"space": {"/a": CHOICE}, "pruner": "hyperband", "objective": "accuracy"}
    )
    assert config.model_dump()["pruner"] == {"name": "hyperband", "reduction": 3, "min_epochs": 1}
    assert config.objective == (Objective(metric="accuracy"),)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=50)
@given(JSON)
def test_a_choice_can_be_any_json_and_keeps_its_type(value: Any) -> None:
    config = SweepConfig.model_validate({"space": {"/a": {"choice": [value]}}})
    read = SweepConfig.model_validate_json(config.model_dump_json())
    written = read.model_dump(mode="json")["space"]["/a"]["choice"][0]
    assert json.dumps(written) == json.dumps(value)


@pytest.mark.parametrize(
    ("pointer", "reason"),
    [
        ("/name", "names its trials"),
        ("/metadata/team", "metadata"),
        ("/preset", "preset"),
        ("/task", "compared"),
        ("/optimise_for", "follow"),
        ("/tune", "sweep itself"),
        ("/dataset", "compared"),
        ("/dataset/split/seed", "compared"),
        ("/training", "same bits"),
        ("/training/device", "same bits"),
        ("/training/max_runtime_seconds", "budget"),
    ],
)
def test_what_all_trials_share_is_refused(pointer: str, reason: str) -> None:
    location, message = flaw(space={pointer: CHOICE})
    assert location == ("space", pointer)
    assert reason in message


@pytest.mark.parametrize(
    ("space", "location"),
    [
        ({}, ()),
        ({"a": CHOICE}, ("a", "[key]")),
        ({"/a~2": CHOICE}, ("/a~2", "[key]")),
        ({"/a": {}}, ("/a",)),
        ({"/a": [1, 2]}, ("/a",)),
        ({"/a": {"choice": []}}, ("/a", "a choice", "choice")),
        ({"/a": {"choice": [1, 1]}}, ("/a", "a choice", "choice")),
        ({"/a": {"choice": [[0], [0.0]]}}, ("/a", "a choice", "choice")),
        ({"/a": {"choice": [float("nan")]}}, ("/a", "a choice", "choice", 0, "float")),
        ({"/a": {"choice": [1], "step": 2}}, ("/a", "a choice", "step")),
        ({"/a": {"uniform": [1, 1]}}, ("/a", "a uniform", "uniform")),
        ({"/a": {"uniform": [0, float("inf")]}}, ("/a", "a uniform", "uniform", 1)),
        ({"/a": {"log_uniform": [0, 1]}}, ("/a", "a log_uniform", "log_uniform", 0)),
        ({"/a": {"log_uniform": [2, 1]}}, ("/a", "a log_uniform", "log_uniform")),
        ({"/a": {"integer": [2, 1]}}, ("/a", "a integer", "integer")),
        ({"/a": {"integer": [0.5, 1]}}, ("/a", "a integer", "integer", 0)),
        ({"/a": {"integer": [0, 2**32]}}, ("/a", "a integer", "integer", 1)),
        ({"/a": {"uniform": [-1e101, 1]}}, ("/a", "a uniform", "uniform")),
        ({"/a": {"log_uniform": [1e-101, 1]}}, ("/a", "a log_uniform", "log_uniform")),
        ({"/a": {"uniform": [0, 1e-101]}}, ("/a", "a uniform", "uniform")),
        ({"/a": {"integer": [0, 9], "log": True}}, ("/a", "a integer", "step")),
        ({"/a": {"integer": [1, 9], "log": True, "step": 2}}, ("/a", "a integer", "step")),
        ({"/a": {**CHOICE, "when": {}}}, ("/a", "a choice", "when")),
        ({"/a": {**CHOICE, "when": {"/b": [1]}}}, ("/a", "when", "/b")),
        ({"/a": {**CHOICE, "when": {"/b": []}}, "/b": CHOICE}, ("/a", "when", "/b")),
        ({"/a": {**CHOICE, "when": {"/a": [1]}}}, ("/a", "when")),
        ({"/a": {**CHOICE, "when": {"/b": [1, 3]}}, "/b": CHOICE}, ("/a", "when", "/b", 1)),
        (
            {"/a": {**CHOICE, "when": {"/b": [4]}}, "/b": {"integer": [1, 9], "step": 2}},
            ("/a", "when", "/b", 0),
        ),
        ({"/a": {**CHOICE, "when": {"/b": [1]}}, "/b": {"uniform": [0, 1]}}, ("/a", "when", "/b")),
        (
            {"/a": {**CHOICE, "when": {"/b": [1]}}, "/b": {**CHOICE, "when": {"/a": [1]}}},
            ("/a", "when"),
        ),
    ],
)
def test_a_wrong_space_names_the_entry(
    space: dict[str, Any], location: tuple[str | int, ...]
) -> None:
    assert flaw(space=space)[0] == ("space", *location)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sampler": "grid", "space": {"/a": {"uniform": [0, 1]}}}, "sampler"),
        ({"pruner": "hyperband", "space": {"/training/epochs": CHOICE}}, "pruner"),
        ({"pruner": "median"}, "pruner"),
        ({"objective": []}, "objective"),
        ({"objective": ["accuracy", "accuracy"]}, "objective"),
        ({"objective": ["accuracy", "num_parameters"], "pruner": "hyperband"}, "objective"),
        ({"objective": "cross_validation.f1", "pruner": "hyperband"}, "objective"),
        ({"repeats": 2, "space": {"/training/seed": {"integer": [0, 9]}}}, "repeats"),
    ],
)
def test_fields_that_do_not_fit_each_other_are_refused(changes: dict[str, Any], field: str) -> None:
    assert flaw(**changes)[0] == (field,)


def test_an_unknown_metric_is_refused_with_those_that_exist() -> None:
    location, message = flaw(objective="accurracy")
    assert location == ("objective", 0, "metric")
    assert "validation_loss" in message
    assert "num_parameters" not in flaw(objective="cross_validation.num_parameters")[1]


def test_a_metric_says_what_is_better_unless_told_otherwise() -> None:
    for metric, is_more in HIGHER_IS_BETTER.items():
        assert Objective(metric=metric).is_maximized is is_more
        assert Objective(metric=f"cross_validation.{metric}").is_maximized is is_more
    assert not Objective(metric="validation_loss").is_maximized
    assert Objective(metric="validation_loss", direction="maximize").is_maximized


def test_pointers_come_after_those_that_their_conditions_name() -> None:
    space = {
        "/a": {**CHOICE, "when": {"/c": [1]}},
        "/c": {**CHOICE, "when": {"/d": [2]}},
        "/d": CHOICE,
        "/b": CHOICE,
    }
    config = SweepConfig.model_validate({"space": space})
    assert config.pointers == ("/b", "/d", "/c", "/a")
