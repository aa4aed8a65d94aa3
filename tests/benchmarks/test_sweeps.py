"""The benchmark of sweeps: its arithmetic against worked examples, and its task for all."""

import math
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn import functional as F

from benchmarks.sweeps import torch_loop
from benchmarks.sweeps.curves import Outcome, races
from benchmarks.sweeps.report import goals, report
from benchmarks.sweeps.rows import PART, TARGET, prepare
from benchmarks.sweeps.task import HIDDEN_DROPOUT, INPUT_DROPOUT, LEARNING_RATE, WEIGHT_DECAY
from benchmarks.sweeps.tiny import Overhead
from benchmarks.tables.catalogue import Table

CONFIG = {INPUT_DROPOUT: 0.1, HIDDEN_DROPOUT: 0.5, LEARNING_RATE: 1e-3, WEIGHT_DECAY: 1e-2}

# The best losses are 0.4, 0.5 and 0.3, so all reach 0.5.
CURVES = {
    "service": [(1.0, 0.9), (3.0, 0.4), (2.0, 0.5)],
    "Optuna, a loop": [(4.0, math.nan), (10.0, 0.5)],
    "Ray Tune": [(6.0, 0.45), (9.0, 0.3)],
}
SECONDS = {"service": 4.0, "Optuna, a loop": 12.0, "Ray Tune": 16.0}


def outcomes(*, seed: int = 0, slower: float = 1.0) -> list[Outcome]:
    """Return those of all contestants, of which all but the service are `slower` times as slow."""
    return [
        Outcome(
            "t",
            seed,
            name,
            SECONDS[name] * factor,
            len(curve),
            [(moment * factor, loss) for moment, loss in curve],
        )
        for name, curve in CURVES.items()
        for factor in [1.0 if name == "service" else slower]
    ]


def table(task: str) -> Table:
    """Return 40 rows with a word, a number with gaps, and a target."""
    size = range(40)
    frame = pl.DataFrame(
        {
            "word": [("a", "b", None, "c")[index % 4] for index in size],
            "number": [None if index % 5 == 0 else float(index) for index in size],
            "y": [float(index) for index in size]
            if task == "regression"
            else [f"class {index % 3}" for index in size],
        }
    )
    made = Table("t", Path("none"), "y", task, "judge", 40, 2, "made")
    vars(made)["frame"] = frame
    return made


def test_contestants_race_to_the_worst_of_their_best_losses() -> None:
    [race] = races(outcomes(), list(CURVES))
    assert race.loss == 0.5
    assert [race.seconds(name) for name in CURVES] == [2.0, 10.0, 6.0]
    assert race.ratio("service", "Optuna, a loop") == 5.0
    assert race.total_ratio("service", "Ray Tune") == 4.0


def test_a_loss_that_is_never_reached_takes_forever() -> None:
    outcome = Outcome("t", 0, "a", 1.0, 1, [(1.0, math.nan), (2.0, 0.7)])
    assert outcome.best == 0.7
    assert outcome.seconds_to(0.6) == math.inf


def test_only_searches_that_all_have_made_are_compared() -> None:
    some = [each for each in outcomes(seed=1) if each.contestant != "Ray Tune"]
    assert [race.seed for race in races([*some, *outcomes()], list(CURVES))] == [0]
    assert len(races(some, ["service", "Optuna, a loop"])) == 1


def test_a_goal_is_the_geometric_mean_against_the_fastest_way_of_a_rival() -> None:
    found = [*outcomes(), *outcomes(seed=1, slower=4.0)]
    slow = [
        Outcome("t", each.seed, "Optuna, two processes", 99.0, 1, [(90.0, 0.1)])
        for each in found
        if each.contestant == "service"
    ]
    of_optuna, of_ray, of_tiny = goals([*found, *slow], Overhead([0.64, 0.96], [0.32, 0.32]))
    assert of_optuna.values == [pytest.approx(10.0)]  # 5 and 20
    assert of_ray.values == [pytest.approx(6.0)]  # 3 and 12
    assert of_tiny.values == [pytest.approx(5.0), pytest.approx(10.0)]
    assert [goal.verdict for goal in (of_optuna, of_ray, of_tiny)] == ["met", "met", "missed"]


def test_a_report_has_the_times_of_all_and_their_ratios() -> None:
    text = report([*outcomes(), *outcomes(seed=1, slower=4.0)])
    assert "| Optuna, a loop | 25.0 (10.0-40.0) | 30.0 (12.0-48.0) | 0.5000 | 2 |" in text
    assert "| Ray Tune | 6.00 | 6.00 | 8.00 |" in text


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_all_contestants_get_the_same_numbers(task: str, tmp_path: Path) -> None:
    prepared = prepare(table(task), 0, batch_size=8)
    rows = torch_loop.read_rows(prepared.write_arrays(tmp_path))
    is_train = prepared.frame[PART] == "train"
    for part, features, targets in (
        (is_train, rows.features, rows.targets),
        (~is_train, rows.validation_features, rows.validation_targets),
    ):
        frame = prepared.frame.filter(part)
        inputs = frame.drop(TARGET, PART).to_numpy()
        np.testing.assert_array_equal(inputs, features.numpy())
        np.testing.assert_array_equal(frame[TARGET].to_numpy(), targets.flatten().numpy())
    assert rows.features.shape == (30, 5)  # three words, the number, and whether it is missing
    assert rows.features[:, :3].sum(dim=1).max() == 1
    assert rows.features[:, 3].mean() == pytest.approx(0, abs=1e-6)
    assert rows.features[:, 3].std(correction=0) == pytest.approx(1, abs=1e-6)
    assert rows.num_outputs == (1 if task == "regression" else 3)


def test_the_loop_in_torch_learns_and_yields_the_loss_of_the_validation_rows(
    tmp_path: Path,
) -> None:
    rows = torch_loop.read_rows(
        prepare(table("regression"), 0, batch_size=8).write_arrays(tmp_path)
    )
    without = CONFIG | {INPUT_DROPOUT: 0.0, HIDDEN_DROPOUT: 0.0, LEARNING_RATE: 0.02}
    torch.manual_seed(0)
    found = list(islice(torch_loop.losses(rows, without, batch_size=8, seed=0), 15))
    alone = F.mse_loss(torch.zeros_like(rows.validation_targets), rows.validation_targets).item()
    assert found[-1] < alone / 2
