"""Sweeps whose results are computed at once, in any order."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from dropout_core.config import SweepConfig
from dropout_core.sweeps.decision import Decision, Trial, decide
from dropout_core.sweeps.objectives import Result

EPOCHS = 27
Key = tuple[int, int, int]
"""A trial, a repeat and a rung."""

SPACE = {
    "/model/hidden_dropout": {"uniform": [0, 1]},
    "/training/batch_size": {"integer": [8, 64], "log": True},
    "/training/optimizer": {"choice": [{"name": "sgd"}, {"name": "adam"}]},
    "/training/optimizer/momentum": {
        "choice": [0.0, 0.9],
        "when": {"/training/optimizer": [{"name": "sgd"}]},
    },
}


def sweep_config(**changes: Any) -> SweepConfig:
    return SweepConfig.model_validate({"space": SPACE, **changes})


def some_result(key: Key, trial: Trial) -> Result:
    """Return a result that follows from the key and the trial: with ties, failures and NaN."""
    chance = random.Random(repr((key, trial)))
    values = {0: None, 1: (math.nan,)}.get(chance.randrange(10), (float(chance.randrange(4)),))
    return Result(values, finished=chance.random() < 0.15)


def due(config: SweepConfig, decision: Decision, results: dict[Key, Result]) -> list[Key]:
    """Return the results that a decision waits for."""
    return [
        (number, repeat, rung.number)
        for rung in decision.rungs
        if not rung.is_full
        for number in rung.entered
        if number not in decision.pruned
        for repeat in range(config.repeats)
        if (number, repeat, rung.number) not in results
        and not any(
            result.finished
            for earlier in range(rung.number)
            if (result := results.get((number, repeat, earlier)))
        )
    ]


class DrivenSweep:
    """A sweep that goes on from the given trials and results until it is over.

    Each time, `pick` chooses which of the due results arrive, and in which order.
    """

    def __init__(
        self,
        config: SweepConfig,
        *,
        pick: Callable[[list[Key]], Sequence[Key]] = lambda keys: keys,
        result_of: Callable[[Key, Trial], Result] = some_result,
        trials: Sequence[Trial] = (),
        results: dict[Key, Result] | None = None,
    ) -> None:
        self.config = config
        self.trials = list(trials)
        self.results = dict(results or {})
        self.decisions: list[Decision] = []
        while True:
            decision = self.decide()
            self.decisions.append(decision)
            self.trials += decision.new_trials
            if decision.winners is not None:
                return
            keys = due(config, decision, self.results)
            assert keys, "the sweep waits for nothing"
            for key in pick(keys):
                self.results[key] = result_of(key, self.trials[key[0]])

    def decide(self, **changes: Any) -> Decision:
        known = {"trials": self.trials, "results": self.results, **changes}
        return decide(self.config, epochs=EPOCHS, **known)

    @property
    def outcome(self) -> tuple[list[Trial], Decision]:
        """Return the trials, and the last decision as anybody would take it now."""
        return self.trials, self.decide()
