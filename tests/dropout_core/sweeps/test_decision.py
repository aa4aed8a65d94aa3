import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_core.config import SweepConfig
from dropout_core.sweeps.decision import (
    Decision,
    Trial,
    decide,
    first_trials,
    importance,
    standings,
)
from dropout_core.sweeps.objectives import Result
from tests.support.sweeps import EPOCHS, DrivenSweep, Key, sweep_config

CONFIGS = st.builds(
    sweep_config,
    sampler=st.sampled_from(["random", "sobol", "tpe"]),
    pruner=st.sampled_from(
        ["none", "hyperband", {"name": "successive_halving", "reduction": 2, "min_epochs": 2}]
    ),
    budget=st.builds(lambda trials: {"trials": trials}, st.integers(1, 12)),
    repeats=st.integers(1, 2),
    window=st.integers(2, 5),
    seed=st.integers(0, 3),
    objective=st.sampled_from(["validation_loss", "accuracy"]),
)


@settings(max_examples=15, deadline=None)
@given(CONFIGS, st.randoms(use_true_random=False), st.data())
def test_the_outcome_does_not_depend_on_the_order_of_results(
    config: SweepConfig, chance: Any, data: st.DataObject
) -> None:
    def some(keys: list[Key]) -> list[Key]:
        return chance.sample(keys, chance.randint(1, len(keys)))

    expected = DrivenSweep(config)
    assert DrivenSweep(config, pick=some).outcome == expected.outcome
    # From any part of it that somebody may have seen:
    num_trials = data.draw(st.integers(0, len(expected.trials)))
    kept = {
        k: r for k, r in expected.results.items() if k[0] < num_trials and chance.random() < 0.6
    }
    part = DrivenSweep(config, pick=some, trials=expected.trials[:num_trials], results=kept)
    assert part.outcome == expected.outcome


@settings(max_examples=10, deadline=None)
@given(CONFIGS, st.randoms(use_true_random=False))
def test_a_decision_is_never_taken_back(config: SweepConfig, chance: Any) -> None:
    driven = DrivenSweep(config, pick=lambda keys: [chance.choice(keys)])
    for before, after in zip(driven.decisions, driven.decisions[1:], strict=False):
        assert all(after.epochs[number] >= epochs for number, epochs in before.epochs.items())
        assert after.pruned.items() >= before.pruned.items()
        decided = {rung for rung in before.rungs if rung.is_full}
        assert decided <= set(after.rungs)
        assert not {t.number for t in after.new_trials} & before.epochs.keys()
    assert len(driven.trials) == config.budget.trials
    assert {t.number for t in driven.trials} == {*driven.decide().pruned, *driven.decide().winners}


def halving(trials: int, **changes: Any) -> SweepConfig:
    pruner = {"name": "successive_halving", "reduction": 3}
    return sweep_config(pruner=pruner, budget={"trials": trials}, **changes)


def by_number(key: Key, trial: Trial) -> Result:
    return Result((float(key[0]),))


def rungs_of(decision: Decision) -> list[tuple[int, tuple[int, ...], tuple[int, ...]]]:
    return [(rung.epochs, rung.entered, rung.promoted) for rung in decision.rungs]


def test_the_best_third_is_promoted_at_each_rung() -> None:
    driven = DrivenSweep(halving(9), result_of=by_number)
    decision = driven.decide()
    assert rungs_of(decision) == [
        (3, tuple(range(9)), (0, 1, 2)),
        (9, (0, 1, 2), (0,)),
        (27, (0,), ()),
    ]
    assert decision.winners == (0,)
    assert decision.epochs == {0: 27, 1: 9, 2: 9} | dict.fromkeys(range(3, 9), 3)
    assert set(decision.pruned.values()) == {"pruned"}


def test_a_metric_of_which_more_is_better_promotes_the_largest() -> None:
    driven = DrivenSweep(halving(9, objective="accuracy"), result_of=by_number)
    assert driven.decide().rungs[0].promoted == (8, 7, 6)


def test_equal_scores_are_ordered_by_number_and_failures_are_last() -> None:
    def result_of(key: Key, trial: Trial) -> Result:
        return Result({0: None, 1: (float("nan"),), 2: (float("inf"),)}.get(key[0], (1.0,)))

    decision = DrivenSweep(halving(9), result_of=result_of).decide()
    assert decision.rungs[0].promoted == (3, 4, 5)
    assert decision.winners == (3,)


def test_nobody_wins_if_every_trial_fails() -> None:
    decision = DrivenSweep(halving(9), result_of=lambda key, trial: Result(None)).decide()
    assert (decision.winners, len(decision.rungs)) == ((), 1)
    assert decision.pruned == dict.fromkeys(range(9), "pruned")


def test_a_trial_whose_training_is_over_is_carried_to_later_rungs() -> None:
    asked: list[Key] = []

    def result_of(key: Key, trial: Trial) -> Result:
        asked.append(key)
        return Result((float(key[0]),), finished=key[0] == 0)

    decision = DrivenSweep(halving(9), result_of=result_of).decide()
    assert decision.winners == (0,)
    assert [key for key in asked if key[0] == 0] == [(0, 0, 0)]


def test_the_score_is_the_mean_of_the_repeats_and_one_that_fails_decides_the_trial() -> None:
    config = halving(3, repeats=2)
    trials = decide(config, epochs=EPOCHS, trials=[], results={}).new_trials
    results = {(0, 0, 0): Result((0.0,)), (0, 1, 0): Result((5.0,)), (1, 0, 0): Result(None)}
    waiting = decide(config, epochs=EPOCHS, trials=trials, results=results)
    assert (waiting.rungs[0].is_full, waiting.pruned) == (False, {1: "pruned"})
    results |= {(2, 0, 0): Result((2.0,)), (2, 1, 0): Result((2.0,))}
    assert decide(config, epochs=EPOCHS, trials=trials, results=results).rungs[0].promoted == (2,)


def test_without_a_pruner_all_are_trained_to_their_end() -> None:
    space = {"/training/epochs": {"choice": [5, 10]}}
    driven = DrivenSweep(sweep_config(space=space, sampler="grid"), result_of=by_number)
    assert driven.decide().epochs == {0: 5, 1: 10}
    assert driven.decide().pruned == {1: "not_chosen"}


def test_the_winners_of_two_objectives_are_the_pareto_front() -> None:
    scores = [(0.5, 10), (0.9, 30), (0.5, 20), (0.7, 20)]
    config = sweep_config(objective=["accuracy", "num_parameters"], budget={"trials": 4})
    decision = DrivenSweep(config, result_of=lambda key, _: Result(scores[key[0]])).decide()
    assert (decision.winners, decision.pruned) == ((0, 1, 3), {2: "not_chosen"})


def test_brackets_of_hyperband_begin_together_but_for_tpe() -> None:
    for sampler, num_begun in (("random", 3), ("tpe", 1)):
        config = sweep_config(pruner="hyperband", sampler=sampler, budget={"trials": 17}, window=99)
        first = decide(config, epochs=EPOCHS, trials=[], results={})
        assert len({trial.bracket for trial in first.new_trials}) == num_begun
        driven = DrivenSweep(config, result_of=by_number)
        assert [rung.epochs for rung in driven.decide().rungs] == [3, 9, 27, 9, 27, 27]


def test_windows_of_tpe_wait_for_the_results_of_those_before() -> None:
    config = sweep_config(sampler="tpe", window=4, budget={"trials": 10})
    driven = DrivenSweep(config)
    proposed = [len(decision.new_trials) for decision in driven.decisions]
    assert [number for number in proposed if number] == [4, 4, 2]
    first = decide(config, epochs=EPOCHS, trials=[], results={}).new_trials
    others = {key: replace(result, values=(9.0,)) for key, result in driven.results.items()}
    assert driven.trials[:4] == list(first)
    assert decide(config, epochs=EPOCHS, trials=first, results={(0, 0, 0): Result((1.0,))}) == (
        decide(config, epochs=EPOCHS, trials=first, results={(0, 0, 0): Result((1.0,))})
    )
    assert not decide(
        config, epochs=EPOCHS, trials=first, results={(0, 0, 0): Result((1.0,))}
    ).new_trials
    assert decide(config, epochs=EPOCHS, trials=first, results=others).new_trials


def test_an_exhausted_sweep_ends_with_the_best_of_those_that_came_furthest() -> None:
    config = halving(9)
    trials = decide(config, epochs=EPOCHS, trials=[], results={}).new_trials
    results = {(number, 0, 0): Result((float(number),)) for number in range(9)}

    def ended(**changes: Any) -> Decision:
        known = {"trials": trials, "results": results, **changes}
        return decide(config, epochs=EPOCHS, is_exhausted=True, **known)

    assert ended(trials=(), results={}).winners == ()
    assert ended(trials=(), results={}).new_trials == ()
    some = {key: result for key, result in results.items() if key[0] in (4, 7)}
    assert ended(results=some).winners == (4,)
    assert set(ended(results=some).pruned.values()) == {"not_chosen"}
    # Trials 0, 1 and 2 have been promoted; 1 has reached the next rung.
    assert ended().winners == (0,)
    assert ended(results=results | {(1, 0, 1): Result((50.0,))}).winners == (1,)
    over = {(0, 0, 0): Result((0.0,), finished=True), (1, 0, 1): Result((50.0,))}
    assert ended(results=results | over).winners == (0,)
    assert ended(results=results | {(1, 0, 1): Result(None)}).winners == (0,)


def test_the_first_trials_are_those_of_the_sweep() -> None:
    for sampler in ("random", "sobol", "grid", "tpe"):
        space = {"/a": {"choice": list(range(9))}, "/b": {"integer": [1, 9]}}
        config = sweep_config(sampler=sampler, space=space, window=5, budget={"trials": 20})
        every = decide(config, epochs=EPOCHS, trials=[], results={}).new_trials
        assert first_trials(config, 10, epochs=EPOCHS) == every[:10]
        assert len(every) == {"grid": 81, "tpe": 5}.get(sampler, 20)


def test_standings_are_ordered_by_epochs_then_scores() -> None:
    def result_of(key: Key, trial: Trial) -> Result:
        return Result(None if key[0] == 8 else (float(key[0]) - 10 * key[2],))

    driven = DrivenSweep(halving(9), result_of=result_of)
    found = standings(driven.config, epochs=EPOCHS, trials=driven.trials, results=driven.results)
    assert [standing.number for standing in found] == list(range(9))
    assert [standing.epochs for standing in found][:4] == [27, 9, 9, 3]
    assert [standing.is_complete for standing in found] == [True] + [False] * 8
    assert found[-1].scores is None


def test_the_parameter_that_decides_the_score_is_the_most_important() -> None:
    space = {"/a": {"uniform": [0, 1]}, "/b": {"uniform": [0, 1]}}
    pruner = {"name": "successive_halving", "reduction": 3}
    config = sweep_config(space=space, budget={"trials": 30}, pruner=pruner)
    driven = DrivenSweep(config, result_of=lambda _, trial: Result((trial.values["/b"],)))
    found = importance(config, epochs=EPOCHS, trials=driven.trials, results=driven.results)
    assert found is not None
    assert found["/b"] > 0.9
    assert sum(found.values()) == pytest.approx(1)
    few = driven.trials[:3]
    assert importance(config, epochs=EPOCHS, trials=few, results=driven.results) is None


def test_a_process_that_decides_does_not_load_torch() -> None:
    program = (
        "import sys; from dropout_core.sweeps.decision import decide, importance;"
        "from dropout_core.sweeps import jobs, rungs, space, objectives;"
        "assert not {'torch', 'optuna'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
