"""What follows from a sweep's trials and results: new trials, promotions, winners.

A sweep is a pure function: `decide` may be called by anybody, at any time, with any part of the
results, and what it says never depends on the order in which they arrived.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dropout_core.config import SweepConfig, Task

Fate = Literal["pruned", "not_chosen"]


@dataclass(frozen=True)
class Trial:
    """One config of a sweep: the values of its parameters by pointer, without inactive ones."""

    number: int
    values: dict[str, Any]
    bracket: int = 0


@dataclass(frozen=True)
class Result:
    """What one repeat of a trial has reached at a rung.

    - `values` are those of the objectives, in their order; None if the repeat failed, diverged, was
      cancelled, or has no such metric. A value that is not finite counts as None.
    - `finished`: training is over before the rung, so that the result is that of all later rungs.
    """

    values: tuple[float, ...] | None
    finished: bool = False


Results = Mapping[tuple[int, int, int], Result]
"""Results by trial, repeat and rung, which is numbered from 0 in the trial's bracket."""


@dataclass(frozen=True)
class Rung:
    """A rung of a bracket: `epochs` at which the trials that `entered` are compared.

    It is full when all of them have results; only then `promoted` says which go on, best first. At
    the last rung of a bracket nobody is promoted.
    """

    bracket: int
    number: int
    epochs: int
    entered: tuple[int, ...]
    promoted: tuple[int, ...]
    is_full: bool


@dataclass(frozen=True)
class Decision:
    """What follows from the results so far. It holds for the whole sweep, not for what is new.

    - `new_trials`: those that have to be there and are not, in the order of their numbers.
    - `epochs`: how many epochs each trial has to reach, new ones included. It never decreases.
    - `pruned`: the trials that are over without having won: at a rung ("pruned"), or because
      another one won ("not_chosen"). Trials that failed are among them.
    - `rungs`: those that have trials, by bracket and number.
    - `winners`: None while the sweep goes on. The winner, or with two objectives every trial of the
      Pareto front, by number. Empty if no trial can win.
    """

    new_trials: tuple[Trial, ...]
    epochs: dict[int, int]
    pruned: dict[int, Fate]
    rungs: tuple[Rung, ...]
    winners: tuple[int, ...] | None


def decide(
    config: SweepConfig,
    *,
    epochs: int,
    task: Task,
    trials: Sequence[Trial],
    results: Results,
    is_exhausted: bool = False,
) -> Decision:
    """Return what follows from the trials and results so far.

    `epochs` are those of the base job. `is_exhausted` ends the sweep now.
    """
    raise NotImplementedError
