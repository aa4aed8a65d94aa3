"""The goals of the benchmarks, and a table of them with what was measured."""

import operator
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

HOLDS: dict[str, Callable[[float, float], bool]] = {
    "at least": operator.ge,
    "under": operator.lt,
    "exactly": operator.eq,
}


@dataclass(frozen=True)
class Goal:
    """A bound for the median of the rounds' `values`; `skipped` says why there are none."""

    what: str
    kind: str
    bound: float
    values: Sequence[float]
    skipped: str = "not measured"

    @property
    def verdict(self) -> str:
        if not self.values:
            return self.skipped
        return "met" if HOLDS[self.kind](statistics.median(self.values), self.bound) else "missed"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"verdict": self.verdict}


def goals_table(goals: Sequence[Goal]) -> str:
    width = max(len(goal.what) for goal in goals)
    lines = [f"\n{'goals':{width}}{'':>10}{'':>6}{'measured':>26}"]
    lines += [
        f"{goal.what:{width}}{goal.kind:>10}{goal.bound:>6g}{spread(goal.values):>26}"
        f"  {goal.verdict}"
        for goal in goals
    ]
    return "\n".join(lines)


def spread(values: Sequence[float], *, digits: int = 2) -> str:
    """Return the median, with the quartiles if there are several rounds."""
    if not values:
        return "-"
    middle = f"{statistics.median(values):,.{digits}f}"
    if len(values) == 1:
        return middle
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{middle} ({low:,.{digits}f}-{high:,.{digits}f})"
