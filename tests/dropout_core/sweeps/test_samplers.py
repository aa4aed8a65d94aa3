import os
import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest

from dropout_core.config import SweepConfig
from dropout_core.config.space import as_json
from dropout_core.sweeps.decision import Trial
from dropout_core.sweeps.objectives import Result
from dropout_core.sweeps.samplers import drawn
from dropout_core.sweeps.space import Values
from tests.support.sweeps import SPACE, DrivenSweep, Key, sweep_config

SAMPLERS = ["random", "sobol", "grid", "tpe"]
FEW: dict[str, Any] = {"budget": {"trials": 16}, "window": 12}
"""The last four of these are proposed by what TPE has learnt; it draws the others at random."""
UNIT = {"/a": {"uniform": [0, 1]}, "/b": {"uniform": [0, 1]}}


def values_of(config: SweepConfig, **changes: Any) -> list[Values]:
    return [trial.values for trial in DrivenSweep(config, **changes).trials]


def draw(config: SweepConfig, stop: int) -> list[Values]:
    return drawn(config, start=0, stop=stop, earlier=[])


@pytest.mark.parametrize("sampler", ["random", "sobol", "tpe"])
def test_the_seed_and_the_number_decide_a_trial(sampler: str) -> None:
    trials = values_of(sweep_config(sampler=sampler, **FEW))
    assert trials == values_of(sweep_config(sampler=sampler, **FEW))
    other = values_of(sweep_config(sampler=sampler, seed=1, **FEW))
    assert not any(mine == theirs for mine, theirs in zip(trials, other, strict=True))


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_a_trial_does_not_depend_on_how_many_there_are(sampler: str) -> None:
    config = sweep_config(sampler=sampler)
    assert draw(config, 20)[:7] == draw(config, 7)
    later = drawn(config, start=7, stop=20, earlier=draw(config, 7))
    assert draw(config, 7) + later == draw(config, 20)


def test_random_values_of_a_parameter_do_not_depend_on_the_others() -> None:
    alone = draw(sweep_config(space={"/a": UNIT["/a"]}), 5)
    assert [values["/a"] for values in draw(sweep_config(space=UNIT), 5)] == [
        values["/a"] for values in alone
    ]


def test_the_order_of_the_space_in_json_changes_nothing() -> None:
    turned = dict(reversed(SPACE.items()))
    for sampler in ("random", "sobol", "tpe"):
        trials = values_of(sweep_config(sampler=sampler, **FEW))
        assert values_of(sweep_config(sampler=sampler, space=turned, **FEW)) == trials


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_two_trials_are_equal_and_a_small_space_is_used_up(sampler: str) -> None:
    space: dict[str, Any] = {
        "/a": {"choice": ["x", {"y": 1}]},
        "/b": {"integer": [0, 20], "step": 10},
        "/c": {"choice": [None, 0.5], "when": {"/a": ["x"]}},
    }
    trials = values_of(sweep_config(sampler=sampler, space=space, window=4))
    assert len(trials) == 9
    assert len({as_json(values) for values in trials}) == 9


def test_an_inactive_parameter_has_no_value() -> None:
    for sampler in ("random", "sobol", "tpe"):
        trials = values_of(sweep_config(sampler=sampler, **FEW))
        has = ["/training/optimizer/momentum" in values for values in trials]
        assert has == [values["/training/optimizer"] == {"name": "sgd"} for values in trials]
        assert len(set(has)) == 2


def test_sobol_points_fill_the_space_evenly() -> None:
    trials = draw(sweep_config(space=UNIT, sampler="sobol"), 64)
    cells = {(int(8 * values["/a"]), int(8 * values["/b"])) for values in trials}
    assert len(cells) == 64  # one in each of 8 x 8
    assert all(sorted(int(64 * v[name]) for v in trials) == list(range(64)) for name in UNIT)


def test_a_grid_has_all_combinations_in_order() -> None:
    space = {"/b": {"integer": [1, 3]}, "/a": {"choice": ["y", "x"]}}
    config = sweep_config(space=space, sampler="grid", budget={"trials": 2})
    assert [tuple(values.values()) for values in values_of(config)] == [
        ("y", 1), ("y", 2), ("y", 3), ("x", 1), ("x", 2), ("x", 3),
    ]  # fmt: skip


def distance(_: Key, trial: Trial) -> Result:
    return Result((abs(trial.values["/a"] - 0.7) + abs(trial.values["/b"] - 0.2),))


def test_tpe_comes_nearer_to_the_optimum_than_random_draws() -> None:
    """A random point is .63 away in the mean: (.7^2 + .3^2 + .2^2 + .8^2) / 2."""
    config = sweep_config(space=UNIT, sampler="tpe", budget={"trials": 48}, window=4)
    trials = DrivenSweep(config, result_of=distance).trials
    later = [distance((0, 0, 0), trial).values for trial in trials[32:]]
    assert sum(values[0] for values in later if values is not None) / len(later) < 0.63 / 2


def test_tpe_avoids_what_fails() -> None:
    def result_of(_: Key, trial: Trial) -> Result:
        return Result(None if trial.values["/a"] < 0.5 else (trial.values["/b"],))

    config = sweep_config(space=UNIT, sampler="tpe", budget={"trials": 40}, window=4)
    later = DrivenSweep(config, result_of=result_of).trials[24:]
    assert sum(trial.values["/a"] < 0.5 for trial in later) <= 4  # of 16


def test_a_trial_of_tpe_depends_on_earlier_windows_alone() -> None:
    config = sweep_config(space=UNIT, sampler="tpe", budget={"trials": 24}, window=8)

    def other_in_last_window(key: Key, trial: Trial) -> Result:
        return Result((1.0,)) if key[0] >= 16 else distance(key, trial)

    assert values_of(config, result_of=distance) == values_of(
        config, result_of=other_in_last_window
    )
    numbers = [trial.number for trial in DrivenSweep(config, result_of=distance).trials]
    assert all(after == before + 1 for before, after in pairwise(numbers))


def test_another_process_proposes_the_same() -> None:
    """Sets of text have another order there."""
    config = sweep_config(sampler="tpe", **FEW)
    program = (
        "import sys; from dropout_core.config import SweepConfig; from tests.support import sweeps;"
        "config = SweepConfig.model_validate_json(sys.argv[1]);"
        "print([trial.values for trial in sweeps.DrivenSweep(config).trials])"
    )
    there = subprocess.run(
        [sys.executable, "-c", program, config.model_dump_json()],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == str(values_of(config))
