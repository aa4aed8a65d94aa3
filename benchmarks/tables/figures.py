"""The statistics of the benchmark on tables.

Contestants are compared on the seeds that all of them have, by the primary measure of each table's
task unless another one is named: ROC AUC for two classes, accuracy for more, RMSE for a regression.
A standard error is that of the mean over the seeds of one table, or over tables.
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata, studentized_range

from benchmarks.tables.catalogue import Table
from benchmarks.tables.measures import LOWER_IS_BETTER, PRIMARY
from benchmarks.tables.outcomes import Outcome

COVERED_ROWS = 500
FIRST = ("default", "best", "fast", "plain")
"""The contestants that a report begins with."""


@dataclass(frozen=True)
class Mean:
    """A mean and its standard error, which is infinite for one value."""

    mean: float
    error: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Mean":
        error = math.inf
        if len(values) > 1:
            error = statistics.stdev(values) / math.sqrt(len(values))
        return cls(statistics.fmean(values), error)


@dataclass(frozen=True)
class Ranking:
    """Mean ranks over `num_tables`, the best first; two ranks that differ by less than `critical`
    do not differ significantly at the level .05.
    """

    ranks: dict[str, float]
    num_tables: int
    num_seeds: int
    critical: float


class Results:
    """The outcomes of contestants on tables."""

    def __init__(self, outcomes: Iterable[Outcome], tables: Iterable[Table]) -> None:
        self.tables = {table.name: table for table in tables}
        self._outcomes = {
            outcome.key: outcome for outcome in outcomes if outcome.table in self.tables
        }
        found = dict.fromkeys(outcome.contestant for outcome in self._outcomes.values())
        self.contestants = [name for name in FIRST if name in found]
        self.contestants += [name for name in found if name not in FIRST]

    def of_role(self, role: str) -> "Results":
        """Return the results on the tables with this role."""
        tables = [table for table in self.tables.values() if table.role == role]
        return Results(self._outcomes.values(), tables)

    def measured(self, table: str, contestant: str, measure: str) -> dict[int, float]:
        """Return a measure by seed, of the runs that have it; `seconds` is one."""
        of_seeds = {}
        for (name, seed, by), outcome in self._outcomes.items():
            if (name, by) == (table, contestant) and outcome.error is None:
                value = {**outcome.measures, "seconds": outcome.seconds}.get(measure)
                if value is not None:
                    of_seeds[seed] = value
        return of_seeds

    def mean(self, table: str, contestant: str, measure: str) -> float | None:
        values = self.measured(table, contestant, measure).values()
        return statistics.fmean(values) if values else None

    def primary(self, table: str) -> str:
        return PRIMARY[self.tables[table].task]

    def of_task(self, *tasks: str) -> list[str]:
        return [name for name, table in self.tables.items() if table.task in tasks]

    def gain(self, table: str, a: str, b: str, measure: str) -> Mean | None:
        """Return by how much `a` is better than `b`, on the seeds that both have."""
        of_a, of_b = (self.measured(table, each, measure) for each in (a, b))
        sign = -1 if measure in LOWER_IS_BETTER else 1
        gains = [sign * (of_a[seed] - of_b[seed]) for seed in sorted(of_a.keys() & of_b.keys())]
        return Mean.of(gains) if gains else None

    def ranking(self, contestants: Sequence[str]) -> Ranking | None:
        """Rank the contestants on the tables that all of them have, by the mean over the seeds that
        all of them have there.
        """
        ranks, num_seeds = [], []
        for table in self.tables:
            measure = self.primary(table)
            measured = [self.measured(table, name, measure) for name in contestants]
            if seeds := set.intersection(*(set(each) for each in measured)):
                means = [statistics.fmean(each[seed] for seed in seeds) for each in measured]
                sign = 1 if measure in LOWER_IS_BETTER else -1
                ranks.append(rankdata([sign * mean for mean in means]))
                num_seeds.append(len(seeds))
        if not ranks:
            return None
        means = dict(zip(contestants, np.mean(ranks, axis=0).tolist(), strict=True))
        critical = critical_difference(len(contestants), len(ranks))
        in_order = dict(sorted(means.items(), key=lambda item: item[1]))
        return Ranking(in_order, len(ranks), min(num_seeds), critical)

    def wins(self, a: str, b: str) -> tuple[float, int]:
        """Return on how many tables `a` is better than `b`, and of how many; a gain within one
        standard error counts half.
        """
        gains = [self.gain(table, a, b, self.primary(table)) for table in self.tables]
        wins = [win(gain) for gain in gains if gain is not None]
        return sum(wins), len(wins)

    def worse(self, a: str, b: str, measures: Mapping[str, Sequence[str]]) -> dict[str, Mean]:
        """Return where `a` is worse than `b` by more than a standard error: the gains by `table
        measure`. `measures` names those of each task.
        """
        found = {}
        for table in self.tables:
            for measure in measures[self.tables[table].task]:
                gain = self.gain(table, a, b, measure)
                if gain is not None and gain.mean < -gain.error:
                    found[f"{table} {measure}"] = gain
        return found

    def mean_over_tables(self, contestant: str, measure: str, tables: Iterable[str]) -> Mean | None:
        """Return the mean over tables of the means over seeds."""
        means = [self.mean(table, contestant, measure) for table in tables]
        found = [mean for mean in means if mean is not None]
        return Mean.of(found) if found else None

    def coverage(self, contestant: str) -> dict[str, float]:
        """Return the share of conformal sets that have the truth, of each table with at least
        `COVERED_ROWS` held-out rows.
        """
        covered = {
            table: self.mean(table, contestant, "coverage")
            for table in self.tables
            if round(self.tables[table].rows / 4) >= COVERED_ROWS
        }
        return {table: share for table, share in covered.items() if share is not None}

    def relative_errors(self, a: str, b: str) -> list[float]:
        """Return for each table by which share the error of `a` is lower than that of `b`: 1 - AUC,
        1 - accuracy or RMSE, over the seeds that both have.
        """
        shares = []
        for table in self.tables:
            measure = self.primary(table)
            of_a, of_b = (self.measured(table, each, measure) for each in (a, b))
            if seeds := of_a.keys() & of_b.keys():
                errors = [statistics.fmean(each[seed] for seed in seeds) for each in (of_a, of_b)]
                if measure not in LOWER_IS_BETTER:
                    errors = [1 - error for error in errors]
                shares.append((errors[1] - errors[0]) / max(*errors, 1e-12))
        return shares

    def time_ratio(self, a: str, b: str) -> float | None:
        """Return the geometric mean over tables of the times to fit of `a` over those of `b`."""
        pairs = [(self.mean(t, a, "seconds"), self.mean(t, b, "seconds")) for t in self.tables]
        ratios = [x / y for x, y in pairs if x is not None and y is not None]
        return statistics.geometric_mean(ratios) if ratios else None


def win(gain: Mean) -> float:
    """Return 1 for a gain of more than a standard error, 0 for such a loss, and .5 between them."""
    return 0.5 if abs(gain.mean) <= gain.error else float(gain.mean > 0)


def critical_difference(num_contestants: int, num_tables: int) -> float:
    """Return the difference of mean ranks that is significant at the level .05 in a Nemenyi test
    (Demšar 2006, section 3.2.2).
    """
    q = studentized_range.ppf(0.95, num_contestants, np.inf) / math.sqrt(2)
    return float(q * math.sqrt(num_contestants * (num_contestants + 1) / (6 * num_tables)))
