"""The course of one bracket: who entered which rung, who was promoted, who is out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dropout_core.config import SweepConfig
from dropout_core.sweeps.objectives import Result, Results, Scores, losses, mean_scores
from dropout_core.sweeps.rungs import Bracket


@dataclass(frozen=True)
class Trial:
    """One config of a sweep: the values of its parameters by pointer, without inactive ones."""

    number: int
    values: dict[str, Any]
    bracket: int = 0


@dataclass(frozen=True)
class Rung:
    """A rung of a bracket: `epochs` at which the trials that `entered` are compared.

    It is full when all trials of the rung are there and have results. Only then `promoted` says
    which go on, best first; at the last rung nobody does.
    """

    bracket: int
    number: int
    epochs: int
    entered: tuple[int, ...]
    promoted: tuple[int, ...]
    is_full: bool


@dataclass(frozen=True)
class Standing:
    """How a trial stands: its scores after so many epochs.

    - `repeats`: the scores of each repeat, in order.
    - `scores`: their means; None if a repeat failed, or if not all of them have a result.
    - `is_complete`: the scores are those of the end of training.
    """

    number: int
    scores: Scores | None
    repeats: tuple[Scores, ...]
    epochs: int
    is_complete: bool


class Outcomes:
    """What the results say of whole trials."""

    def __init__(self, config: SweepConfig, results: Results) -> None:
        self._config = config
        self._results = results

    def of(self, number: int, rung: int) -> list[Result | None]:
        """Return what each repeat has at a rung, also where its training was over before."""
        return [self._of_repeat(number, repeat, rung) for repeat in range(self._config.repeats)]

    def is_known(self, number: int, rung: int) -> bool:
        """Return whether all repeats have a result, or one has failed, which decides the trial."""
        found = self.of(number, rung)
        return None not in found or any(
            result is not None and result.has_failed for result in found
        )

    def scores(self, number: int, rung: int) -> Scores | None:
        """Return the means over the repeats; None if one has failed or is missing."""
        return mean_scores([r.values if r is not None else None for r in self.of(number, rung)])

    def is_final(self, number: int, rung: int) -> bool:
        """Return whether the training of all repeats was over by this rung."""
        return all(result is not None and result.finished for result in self.of(number, rung))

    def has_own(self, number: int, rung: int) -> bool:
        """Return whether a repeat has a result of this very rung."""
        return any((number, i, rung) in self._results for i in range(self._config.repeats))

    def _of_repeat(self, number: int, repeat: int, rung: int) -> Result | None:
        if (own := self._results.get((number, repeat, rung))) is not None:
            return own
        before = (self._results.get((number, repeat, earlier)) for earlier in range(rung))
        return next((result for result in before if result and result.finished), None)


class Course:
    """The rungs of a bracket as far as the results go, with `num_trials` of the sweep being there.

    - `out`: trials that failed or were not promoted.
    - `rung_of`: the last rung that each trial entered.
    - `finalists`: the scores of those that are in when the bracket is over.
    """

    def __init__(
        self, config: SweepConfig, bracket: Bracket, num_trials: int, outcomes: Outcomes
    ) -> None:
        self.bracket = bracket
        self.members = bracket.members[: max(num_trials - bracket.first, 0)]
        self.rungs: list[Rung] = []
        self.out: set[int] = set()
        self.rung_of: dict[int, int] = {}
        self.finalists: dict[int, Scores] = {}
        self.is_over = False
        self._outcomes = outcomes
        entered = tuple(self.members)
        is_there = len(entered) == bracket.size
        for number, epochs in enumerate(bracket.epochs):
            if not entered:
                break
            self.rung_of |= dict.fromkeys(entered, number)
            known = {trial for trial in entered if outcomes.is_known(trial, number)}
            found = {trial: outcomes.scores(trial, number) for trial in known}
            scores = {trial: of_one for trial, of_one in found.items() if of_one is not None}
            self.out |= known - scores.keys()
            is_full = is_there and len(known) == len(entered)
            is_last = number == len(bracket.epochs) - 1
            promoted: tuple[int, ...] = ()
            if is_full and not is_last:
                ranked = sorted(scores, key=lambda trial: (losses(config, scores[trial]), trial))
                promoted = tuple(ranked[: bracket.num_promoted(len(entered))])
                self.out |= set(entered) - set(promoted)
            elif is_full:
                self.finalists = scores
            self.rungs.append(Rung(bracket.number, number, epochs, entered, promoted, is_full))
            if not is_full:
                return
            entered = tuple(sorted(promoted))
        self.is_over = is_there

    @property
    def alive(self) -> list[int]:
        """Return the trials that have not failed and, where a rung is decided, were promoted."""
        return [number for number in self.members if number not in self.out]

    def has_results(self, *, stop: int) -> bool:
        """Return whether all trials before number `stop` have results at the first rung."""
        return all(self._outcomes.is_known(n, 0) for n in self.members if n < stop)

    def standing(self, number: int) -> Standing:
        """Return how a trial stands at the last rung where it has a result, or failed."""
        rung = self.rung_of[number]
        if not self._outcomes.is_known(number, rung):
            rung = max(rung - 1, 0)
        is_last = rung == len(self.bracket.epochs) - 1
        found = self._outcomes.of(number, rung)
        return Standing(
            number,
            self._outcomes.scores(number, rung),
            tuple(each.values for each in found if each is not None and each.values is not None),
            self.bracket.epochs[rung],
            is_last or self._outcomes.is_final(number, rung),
        )

    def reached(self, number: int) -> int:
        """Return the epochs of the last rung for which the trial was trained, or 0."""
        rungs = [r for r in range(self.rung_of[number] + 1) if self._outcomes.has_own(number, r)]
        known = [r for r in rungs if self._outcomes.is_known(number, r)]
        return self.bracket.epochs[max(known)] if known else 0


def ranked(config: SweepConfig, standings: Sequence[Standing]) -> list[Standing]:
    """Return trials from the best to the worst: more epochs first, then by scores, then by number.

    Trials that failed or have no scores are last. With two objectives, those of the Pareto front
    are not before others.
    """

    def key(standing: Standing) -> tuple[bool, int, Scores, int]:
        if standing.scores is None:
            return True, 0, (), standing.number
        return False, -standing.epochs, losses(config, standing.scores), standing.number

    return sorted(standings, key=key)
