import itertools
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
from dropout_core.evaluation.cross_validation import summary
from dropout_core.pipeline.resolved_table import ResolvedTable, resolve_table
from dropout_core.pipeline.tabular_run import TabularRun
from dropout_core.sweeps import tabular_sweep
from dropout_core.sweeps.course import Rung, Trial
from dropout_core.sweeps.space import PointerError
from dropout_core.sweeps.tabular_sweep import Event, Reached, SweepResult, sweep
from dropout_core.training.feasibility import InfeasibleError
from tests.support.sweeps import sweep_config
from tests.support.tables import flowers

EPOCHS = 4
DROPOUT = {"/model/hidden_dropout": {"uniform": [0, 0.5]}}
SPACE = {
    **DROPOUT,
    "/model/hidden": {"choice": [[4], [4, 4]]},
    "/training/optimizer/lr": {"log_uniform": [1e-3, 1e-1]},
}
HALVING = {"name": "successive_halving", "reduction": 2}


@pytest.fixture(scope="module")
def table() -> ResolvedTable:
    return resolved()


def resolved(**split: Any) -> ResolvedTable:
    config = SplitConfig(validation=0.2, test=0.2, **split)
    return resolve_table(pl.read_csv(flowers()), ProblemConfig(target="label", split=config))


def found(table: ResolvedTable, **changes: Any) -> SweepResult:
    options = {"model": MLPConfig(hidden=(4,)), "training": training()} | {
        name: changes.pop(name)
        for name in ("model", "training", "fused", "on_event")
        if name in changes
    }
    known = {"space": SPACE, "pruner": HALVING, "budget": {"trials": 5}}
    return sweep(table, config=sweep_config(**{**known, **changes}), **options)


def training(**changes: Any) -> TrainingConfig:
    known = {"epochs": EPOCHS, "batch_size": 16, "device": "cpu"}
    return TrainingConfig(**{**known, **changes})


def bits(run: TabularRun) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in run.model.state_dict().values()]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_networks_trained_as_one_are_those_trained_one_by_one(
    table: ResolvedTable, sampler: str
) -> None:
    changes: dict[str, Any] = {"sampler": sampler, "window": 3, "repeats": 2}
    one, other = (found(table, fused=fused, **changes) for fused in (True, False))
    assert (one.trials, one.rungs, one.winners) == (other.trials, other.rungs, other.winners)
    assert (one.standings, one.importance) == (other.standings, other.importance)
    assert bits(one.best.run) == bits(other.best.run)
    assert [rung.epochs for rung in one.rungs] == [1, 2, 4]


def test_the_winner_is_what_its_config_trains_without_a_sweep(table: ResolvedTable) -> None:
    settings = training(early_stopping=EarlyStoppingConfig(patience=9, refit=True), calibrate=True)
    result = found(table, training=settings)
    (winner,) = result.winners
    values = result.trials[winner].values
    alone = TabularRun(
        table,
        model=MLPConfig(
            hidden=values["/model/hidden"], hidden_dropout=values["/model/hidden_dropout"]
        ),
        training=settings.model_copy(
            update={"optimizer": AdamConfig(lr=values["/training/optimizer/lr"]), "stacked": True}
        ),
    )
    history = list(alone.training)
    (scores,) = (each.scores for each in result.standings if each.number == winner)
    assert scores == (min(metrics.validation_loss for metrics in history),)
    refitted = alone.refit()
    list(refitted.training)
    alone.calibrate()
    refitted.calibrate_as(alone)
    assert bits(result.best.run) == bits(refitted)
    assert result.best.evaluations["test"] == refitted.evaluate()["test"]
    assert result.best.evaluations["validation"] == alone.evaluate()["validation"]


def test_what_happens_is_told_in_order(table: ResolvedTable) -> None:
    events: list[Event] = []
    result = found(table, on_event=events.append)
    assert [event for event in events if isinstance(event, Trial)] == list(result.trials)
    assert [event for event in events if isinstance(event, Rung)] == list(result.rungs)
    reached = [(event.trial, event.rung.epochs) for event in events if isinstance(event, Reached)]
    # Trained once: 5 trials to 1 epoch, 2 of them to 2, and 1 to 4.
    assert len(set(reached)) == len(reached) == 5 + 2 + 1


def test_networks_that_cannot_be_stacked_are_searched_too(table: ResolvedTable) -> None:
    space = {"/model/batch_norm": {"choice": [True, False]}, **DROPOUT}
    result = found(table, space=space, objective="accuracy")
    assert {values["/model/batch_norm"] for values in (t.values for t in result.trials)} == {
        True,
        False,
    }
    (winner,) = result.winners
    assert result.standings[0].number == winner


def test_a_trial_that_diverges_is_last(table: ResolvedTable) -> None:
    space = {"/training/optimizer": {"choice": [{"name": "sgd", "lr": lr} for lr in (1e38, 0.01)]}}
    result = found(table, space=space, sampler="grid")
    assert result.winners == (1,)
    assert [each.scores is None for each in result.standings] == [False, True]
    with pytest.raises(LookupError, match="no trial has a score"):
        _ = found(table, space={"/training/optimizer/lr": {"choice": [1e38]}}).best


def test_two_objectives_have_a_model_for_each_winner(table: ResolvedTable) -> None:
    objective = ["validation_loss", {"metric": "num_parameters", "direction": "maximize"}]
    space = {"/model/hidden": {"choice": [[2], [64]]}, "/training/seed": {"choice": [0, 1]}}
    result = found(table, space=space, pruner="none", objective=objective, sampler="grid")
    assert result.winners
    assert set(result.models) == set(result.winners)
    for number, completed in result.models.items():
        num_parameters = sum(p.numel() for p in completed.run.model.parameters())
        (scores,) = (each.scores for each in result.standings if each.number == number)
        assert scores is not None
        assert scores[1] == num_parameters


def test_folds_can_be_the_objective() -> None:
    table = resolved(folds=2)
    result = found(
        table, pruner="none", objective="cross_validation.log_loss", budget={"trials": 2}
    )
    number = result.winners[0]
    folds = [result.best.run.fold(index) for index in range(2)]
    for fold in folds:
        list(fold.training)
    mean = summary([fold.evaluate()["test"].to_dict() for fold in folds])["mean"]["log_loss"]
    assert result.standings[0].number == number
    assert result.standings[0].scores == (pytest.approx(mean, rel=1e-6),)


@pytest.mark.parametrize("fused", [True, False])
def test_a_search_ends_when_its_time_is_up_and_the_best_is_trained_to_its_end(
    table: ResolvedTable, monkeypatch: pytest.MonkeyPatch, fused: bool
) -> None:
    clock = itertools.count()  # a second later each time that somebody looks
    monkeypatch.setattr(tabular_sweep, "monotonic", lambda: next(clock))
    result = found(table, fused=fused, pruner="none", budget={"trials": 5, "seconds": 10})
    assert len(result.trials) == 5
    if fused:  # none has come to its end
        assert result.winners == ()
    else:
        assert {each.scores is None for each in result.standings} == {False, True}
        assert len(result.best.run.training.history) == EPOCHS
    assert found(table, budget={"seconds": 0.5}).trials == ()


@pytest.mark.parametrize(
    ("space", "pointer", "text"),
    [
        ({"/model/hiden": {"choice": [1]}}, "/model/hiden", "Extra inputs"),
        ({"/model/hidden_dropout": {"choice": [2]}}, "/model/hidden_dropout", "trial 0 has 2"),
        ({"/training/scheduler/name": {"choice": ["step"]}}, "/training/scheduler/name", "null"),
        ({"/training/class_weights": {"choice": [[1, 2]]}}, "/training/class_weights", "3 classes"),
        (
            {"/training/optimizer/name": {"choice": ["sgd"]}},
            "/training/optimizer/sgd/betas",
            "optimizer/name.*sgd",
        ),
        (
            {"/dataset/features": {"choice": [["petal_width"]]}},
            "/dataset/features",
            "preprocessing",
        ),
    ],
)
def test_a_config_that_cannot_be_trained_names_the_parameter(
    table: ResolvedTable, space: dict[str, Any], pointer: str, text: str
) -> None:
    with pytest.raises(PointerError, match=text) as error:
        found(table, space=space)
    assert error.value.pointer == pointer


def test_what_does_not_fit_the_job_is_refused_before_training(table: ResolvedTable) -> None:
    with pytest.raises(InfeasibleError, match="rmse is no metric"):
        found(table, objective="rmse")
    with pytest.raises(InfeasibleError, match="two rungs need at least 2 epochs"):
        found(table, training=training(epochs=1))
    grid = {f"/{name}": {"integer": [1, 1000]} for name in ("model/hidden/0", "training/epochs")}
    with pytest.raises(InfeasibleError, match="the grid has 1000000 combinations"):
        found(table, space=grid, sampler="grid", pruner="none")
    with pytest.raises(TypeError, match="resolve_table"):
        sweep("table", config=sweep_config())  # type: ignore[arg-type]


def test_no_draw_comes_from_the_global_generators(table: ResolvedTable) -> None:
    before = torch.get_rng_state()
    found(table, sampler="sobol", budget={"trials": 2})
    assert torch.equal(torch.get_rng_state(), before)
