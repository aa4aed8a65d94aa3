"""Contenders in turn, round by round: what each does a second, and their ratios.

A round times each contender once, in turn, and a ratio is taken within a round, so that
other load on the machine affects both its sides.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.peer_process import PeerFailed

Run = Callable[[int], None]
"""Train this number of batches."""

Spread = dict[str, float]
"""Median and quartiles."""


@dataclass(frozen=True)
class Contender:
    """`train` trains a number of batches and returns the seconds that they took.

    Its turn takes `turns` times as long as another's and comes every `every`-th round.
    """

    train: Callable[[int], float]
    turns: float = 1.0
    every: int = 1


@dataclass
class Section:
    """The results of one case: rows a second by contender and round, and why some were skipped."""

    rates: dict[str, dict[int, float]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def speed(self, name: str) -> Spread:
        return _spread(list(self.rates[name].values()))

    def ratio(self, name: str, against: str) -> Spread:
        return _spread(self.ratios(name, against))

    def ratios(self, name: str, against: str) -> list[float]:
        """Return the ratios of two contenders within the rounds in which both took part."""
        ours, theirs = self.rates[name], self.rates[against]
        return [ours[number] / theirs[number] for number in ours if number in theirs]


def timed(run: Run) -> Callable[[int], float]:
    def train(num_batches: int) -> float:
        started = time.perf_counter()
        run(num_batches)
        return time.perf_counter() - started

    return train


def measure(
    contenders: dict[str, Contender], *, rows_per_batch: int, num_rounds: int, seconds: float
) -> Section:
    """Time each contender in turn, round by round, for about `seconds` a turn."""
    section = Section()
    num_batches: dict[str, int] = {}

    def take_turn(name: str, number: int) -> None:
        contender = contenders[name]
        try:
            if name not in num_batches:
                num_batches[name] = _batches_a_turn(contender, seconds * contender.turns)
            taken = contender.train(num_batches[name])
        except PeerFailed as error:
            section.rates.pop(name, None)
            section.skipped[name] = str(error)
        else:
            rate = num_batches[name] * rows_per_batch / taken
            section.rates.setdefault(name, {})[number] = rate

    for number in range(-1, num_rounds):  # the first round warms up
        for name, contender in contenders.items():
            if name not in section.skipped and (number < 0 or number % contender.every == 0):
                take_turn(name, number)
    for rates in section.rates.values():
        del rates[-1]
    return section


def _batches_a_turn(contender: Contender, seconds: float) -> int:
    """Return how many batches take about `seconds`, if the fixed cost of a turn is small."""
    num_batches = 3
    contender.train(num_batches)
    while (taken := contender.train(num_batches)) < seconds / 3:
        num_batches = min(10 * num_batches, int(num_batches * seconds / taken) + 1)
    return max(1, round(num_batches * seconds / taken))


def _spread(values: list[float]) -> Spread:
    low, middle, high = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    )
    return {"low": low, "median": middle, "high": high}
