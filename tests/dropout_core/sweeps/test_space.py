import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_core.config import MLPConfig, TrainingConfig
from dropout_core.config.space import as_json
from dropout_core.sweeps.space import (
    PointerError,
    apply,
    at_fault,
    combinations,
    count_combinations,
    count_trials,
    value_at,
)
from tests.support.sweeps import sweep_config

JOB: dict[str, Any] = {
    "model": {"hidden": [8, 8], "hidden_dropout": [{"p": 0.5}, {"p": 0.5}], "batch_norm": False},
    "training": {"optimizer": {"name": "adam", "lr": 0.1}, "scheduler": None, "epochs": 5},
    "dataset": {"types": {}},
}


def test_values_are_set_at_their_pointers_in_a_copy() -> None:
    job = apply(JOB, {"/training/epochs": 7, "/model/hidden/1": 16, "/dataset/types/a~1b": "text"})
    assert job["training"]["epochs"] == 7
    assert job["model"]["hidden"] == [8, 16]
    assert job["dataset"]["types"] == {"a/b": "text"}
    assert (JOB["training"]["epochs"], JOB["model"]["hidden"]) == (5, [8, 8])


def test_a_field_can_be_set_in_an_object_that_is_itself_a_choice() -> None:
    sgd = {"name": "sgd", "momentum": 0.0}
    job = apply(JOB, {"/training/optimizer/momentum": 0.9, "/training/optimizer": sgd})
    assert job["training"]["optimizer"] == {"name": "sgd", "momentum": 0.9}
    assert sgd == {"name": "sgd", "momentum": 0.0}


def test_equal_dropouts_serve_any_number_of_layers() -> None:
    assert apply(JOB, {"/model/hidden": [4]})["model"]["hidden_dropout"] == {"p": 0.5}
    one = apply(JOB, {"/model/hidden_dropout/1/p": 0.1})["model"]["hidden_dropout"]
    assert one == [{"p": 0.5}, {"p": 0.1}]
    different = {"model": {"hidden_dropout": [{"p": 0.1}, {"p": 0.2}]}}
    assert apply(different, {}) == different


@pytest.mark.parametrize(
    ("pointer", "text"),
    [
        ("/training/scheduler/name", "/training/scheduler is null"),
        ("/training/epochs/x", "/training/epochs is 5"),
        ("/model/hidden/2", "/model/hidden is a list of 2, which has no entry '2'"),
        ("/model/hidden/-", "no entry '-'"),
        ("/model/hidden/00", "no entry '00'"),  # or two parameters could be one field
        ("/model/hidden/x/y", "no entry 'x'"),
    ],
)
def test_a_pointer_that_leads_nowhere_is_refused(pointer: str, text: str) -> None:
    with pytest.raises(PointerError) as error:
        apply(JOB, {pointer: 1})
    assert error.value.pointer == pointer
    assert text in error.value.message


def test_the_parameter_at_fault_is_the_nearest_one() -> None:
    values = {"/training/optimizer": {}, "/training/optimizer/lr": 1, "/model/hidden": []}
    assert at_fault(values, ("training", "optimizer", "lr")) == "/training/optimizer/lr"
    assert at_fault(values, ("training", "optimizer", "eps")) == "/training/optimizer"
    assert at_fault(values, ("model", "hidden", 0)) == "/model/hidden"
    assert at_fault(values, ("model",)) == "/model/hidden"
    assert at_fault(values, ("dataset",)) is None


UNIT = st.floats(0, 1, exclude_max=True)
PARAMETERS: dict[str, dict[str, Any]] = {
    "choice": {"choice": ["a", "b", "c"]},
    "uniform": {"uniform": [-1e100, 1e100]},
    "log_uniform": {"log_uniform": [1e-100, 1e100]},
    "integer": {"integer": [-3, 8], "step": 5},
    "log_integer": {"integer": [1, 1000], "log": True},
}


@given(st.sampled_from(sorted(PARAMETERS)), UNIT)
def test_every_draw_is_within_the_bounds(name: str, u: float) -> None:
    config = sweep_config(space={"/a": PARAMETERS[name]})
    value = value_at(config.space["/a"], u)
    match name:
        case "choice":
            assert value == "abc"[int(3 * u)]
        case "integer":
            assert value == (-3, 2, 7)[int(3 * u)]
            assert type(value) is int
        case "log_integer":
            assert 1 <= value <= 1000
            assert type(value) is int
        case _:
            low, high = PARAMETERS[name][name]
            assert low <= value <= high
            assert math.isfinite(value)


def test_a_logarithm_is_drawn_uniformly() -> None:
    config = sweep_config(space={"/a": {"log_uniform": [1e-4, 1e4]}})
    assert value_at(config.space["/a"], 0.5) == pytest.approx(1)
    assert value_at(config.space["/a"], 0.25) == pytest.approx(1e-2)
    integers = sweep_config(space={"/a": {"integer": [1, 3], "log": True}}).space["/a"]
    share = math.log(1.5 / 0.5) / math.log(3.5 / 0.5)  # what rounds to 1
    assert [value_at(integers, share + step) for step in (-1e-9, 1e-9)] == [1, 2]


WHEN = {
    "/a": {"choice": ["x", "y"]},
    "/b": {"integer": [1, 5], "step": 2, "when": {"/a": ["x"]}},
    "/c": {"choice": [[8], [8, 8]], "when": {"/b": [3, 5]}},
}


def test_combinations_leave_out_what_a_condition_switches_off() -> None:
    config = sweep_config(space=WHEN, sampler="grid")
    found = [tuple(values.values()) for values in combinations(config)]
    assert found == [
        ("x", 1),
        ("x", 3, [8]),
        ("x", 3, [8, 8]),
        ("x", 5, [8]),
        ("x", 5, [8, 8]),
        ("y",),
    ]
    assert count_combinations(config) == count_trials(config) == 6


SPACES = st.lists(
    st.tuples(st.integers(1, 3), st.none() | st.tuples(st.integers(0, 3), st.integers(0, 2))),
    min_size=1,
    max_size=5,
)


@settings(max_examples=50)
@given(SPACES)
def test_combinations_are_counted_without_listing_them(
    entries: list[tuple[int, tuple[int, int] | None]],
) -> None:
    space: dict[str, Any] = {}
    for index, (size, condition) in enumerate(entries):
        space[f"/{index}"] = {"choice": list(range(size))}
        if condition is not None and condition[0] < index:
            other, value = condition
            sizes = entries[other][0]
            space[f"/{index}"]["when"] = {f"/{other}": [value % sizes]}
    config = sweep_config(space=space)
    found = [as_json(values) for values in combinations(config)]
    assert count_combinations(config) == len(found) == len(set(found))


def test_large_grids_are_counted_at_once() -> None:
    space = {f"/{index}": {"integer": [1, 10**9]} for index in range(32)}
    assert count_trials(sweep_config(space=space, sampler="grid")) == 10**288
    assert count_trials(sweep_config(space=space, budget={"trials": 5})) == 5
    assert count_trials(sweep_config(space=WHEN, budget={"trials": 99})) == 6
    assert count_combinations(sweep_config(space={"/a": {"uniform": [0, 1]}})) is None
    entangled: dict[str, Any] = {f"/{index:02}": {"choice": [0, 1]} for index in range(30)}
    entangled |= {"/x": {"choice": [1], "when": {f"/{index:02}": [1] for index in range(8)}}}
    assert count_combinations(sweep_config(space=entangled)) == 2**30
    for index in range(1, 30):
        entangled[f"/{index:02}"]["when"] = {f"/{index - 1:02}": [0, 1]}
    with pytest.raises(PointerError, match="10,000 cases"):
        count_combinations(sweep_config(space=entangled))


def test_configs_with_every_value_can_be_changed() -> None:
    job = {"model": MLPConfig().every_value(), "training": TrainingConfig().every_value()}
    changed = apply(job, {"/model/hidden": [4], "/training/optimizer/lr": 1e-17 / 3})
    assert MLPConfig.model_validate(changed["model"]).hidden == (4,)
    assert TrainingConfig.model_validate(changed["training"]).optimizer.lr == 1e-17 / 3


def test_conditions_are_read_once_and_not_for_each_combination(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or a request of 100 KB could keep a process busy for minutes."""
    space: dict[str, Any] = {f"/x{k}": {"choice": list(range(50))} for k in range(3)}
    space["/y"] = {"choice": [1, 2], "when": {f"/x{k}": list(range(10)) for k in range(3)}}
    config = sweep_config(space=space)
    texts = 0

    def as_text(value: Any) -> str:
        nonlocal texts
        texts += 1
        return as_json(value)

    monkeypatch.setattr("dropout_core.config.space.as_json", as_text)
    monkeypatch.setattr("dropout_core.sweeps.space.as_json", as_text)
    assert count_combinations(config) == 50**3 + 10**3
    assert texts == 30
