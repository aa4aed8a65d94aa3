"""How soon contestants reach a validation loss, from the losses of all epochs of their trials."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

Curve = Sequence[tuple[float, float]]
"""Seconds since the search began, and the validation loss of an epoch of any trial, unordered."""


@dataclass(frozen=True)
class Outcome:
    """One search: the seconds until it was over, the epochs of all trials, and their losses."""

    table: str
    seed: int
    contestant: str
    seconds: float
    epochs: int
    curve: Curve = field(repr=False)

    @property
    def best(self) -> float:
        """Return the best loss of all epochs that have one; a diverged trial has NaN."""
        return min((loss for _, loss in self.curve if not math.isnan(loss)), default=math.inf)

    def seconds_to(self, loss: float) -> float:
        """Return when an epoch first had this loss or a better one; infinity if none has."""
        return min((moment for moment, reached in self.curve if reached <= loss), default=math.inf)


@dataclass(frozen=True)
class Race:
    """The searches of all contestants on one table with one seed.

    `loss` is the worst of their best losses, so that every contestant reaches it.
    """

    table: str
    seed: int
    outcomes: dict[str, Outcome]

    @property
    def loss(self) -> float:
        return max(outcome.best for outcome in self.outcomes.values())

    def seconds(self, contestant: str) -> float:
        """Return how long a contestant takes to reach the loss that all reach."""
        return self.outcomes[contestant].seconds_to(self.loss)

    def ratio(self, contestant: str, against: str) -> float:
        """Return how many times as soon as another one a contestant reaches the loss."""
        return self.seconds(against) / self.seconds(contestant)

    def total_ratio(self, contestant: str, against: str) -> float:
        """Return how many times as soon as another one a contestant has finished its search."""
        return self.outcomes[against].seconds / self.outcomes[contestant].seconds


def races(outcomes: Iterable[Outcome], contestants: Sequence[str]) -> list[Race]:
    """Return the tables and seeds that all of the contestants have been through."""

    def place(outcome: Outcome) -> tuple[str, int]:
        return outcome.table, outcome.seed

    found = []
    for (table, seed), group in groupby(sorted(outcomes, key=place), place):
        by_name = {each.contestant: each for each in group if each.contestant in contestants}
        if len(by_name) == len(contestants):
            found.append(Race(table, seed, {name: by_name[name] for name in contestants}))
    return found


def mean_ratio(ratios: Sequence[float]) -> float:
    """Return the geometric mean, of which 1 / mean is that of the inverse ratios."""
    return statistics.geometric_mean(ratios)
