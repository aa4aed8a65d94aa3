"""What follows from a sweep's trials and results: new trials, promotions, winners.

A sweep is a pure function: `decide` may be called by anybody, at any time, with any part of the
results, and what it says does not depend on the order in which they arrived. It is free of torch,
but for drawing Sobol's points.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dropout_core.config import SweepConfig
from dropout_core.config.sweep import EPOCHS
from dropout_core.sweeps import tpe
from dropout_core.sweeps.course import Course, Outcomes, Rung, Standing, Trial, ranked
from dropout_core.sweeps.objectives import Result, Results, Scores, losses, pareto_front
from dropout_core.sweeps.rungs import brackets
from dropout_core.sweeps.samplers import drawn
from dropout_core.sweeps.space import count_trials

__all__ = [
    "Decision",
    "Fate",
    "Result",
    "Rung",
    "Standing",
    "Trial",
    "decide",
    "first_trials",
    "importance",
    "standings",
]

Fate = Literal["pruned", "not_chosen"]


@dataclass(frozen=True)
class Decision:
    """What follows from the results so far. It holds for the whole sweep, not for what is new.

    - `new_trials`: those that have to be there and are not, in the order of their numbers.
    - `epochs`: how many epochs each trial has to reach, new ones included. It never decreases.
    - `pruned`: the trials that are over without having won: "pruned" if they failed or were not
      promoted, "not_chosen" if another one won.
    - `rungs`: those that have trials, by bracket and number.
    - `winners`: None while the sweep goes on. The winner, or with two objectives every trial of the
      Pareto front, by number. Empty if no trial can win. Further results change nothing about a
      sweep that was not exhausted; one that was must not be decided again.
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
    trials: Sequence[Trial],
    results: Results,
    is_exhausted: bool = False,
) -> Decision:
    """Return what follows from the trials and results so far.

    - A rung is decided when all its trials have results. They are ordered by score, then by number;
      a trial of which one repeat failed is not promoted.
    - With the sampler `tpe`, a window of trials is proposed when all earlier windows of its bracket
      have results at their first rung, and all earlier brackets are over. Other samplers have all
      trials at once.
    - `is_exhausted` ends the sweep now: the winner is the best of the trials that are neither
      pruned nor failed and whose results are of the most epochs that any of them has reached, or
      final since their training was over before.

    `epochs` are those of the base job. `trials` are the first ones of the sweep, by number. A
    repeat that cannot run any more needs a Result of None at the rung that it was to reach.

    Raises InfeasibleError if the pruner does not fit `epochs`, and PointerError as `count_trials`.
    """
    plan = brackets(config, epochs=epochs, num_trials=count_trials(config))
    every = sorted(trials, key=lambda trial: trial.number)
    num_known = len(every)
    outcomes = Outcomes(config, results)
    courses: list[Course] = []
    for bracket in plan:
        course = Course(config, bracket, len(every), outcomes)
        if not is_exhausted and (new := _next_trials(config, course, every, before=courses)):
            every += new
            course = Course(config, bracket, len(every), outcomes)
        courses.append(course)
    winners = None
    if is_exhausted:
        winners = _chosen(config, _best_so_far(courses))
    elif all(course.is_over for course in courses):
        winners = _chosen(config, {n: s for course in courses for n, s in course.finalists.items()})
    fates: dict[int, Fate] = {n: "pruned" for course in courses for n in sorted(course.out)}
    if winners is not None:
        over = {*fates, *winners}
        fates |= {t.number: "not_chosen" for t in every if t.number not in over}
    return Decision(
        new_trials=tuple(every[num_known:]),
        epochs={
            number: every[number].values.get(EPOCHS, course.bracket.epochs[rung])
            for course in courses
            for number, rung in course.rung_of.items()
        },
        pruned=fates,
        rungs=tuple(rung for course in courses for rung in course.rungs),
        winners=winners,
    )


def first_trials(config: SweepConfig, count: int, *, epochs: int) -> tuple[Trial, ...]:
    """Return the first trials, at most `count`; with `tpe` no more than need no results."""
    plan = brackets(config, epochs=epochs, num_trials=count_trials(config))
    found: list[Trial] = []
    courses: list[Course] = []
    for bracket in plan:
        course = Course(config, bracket, len(found), Outcomes(config, {}))
        found += _next_trials(config, course, found, before=courses, most=count)
        courses.append(course)
    return tuple(found)


def standings(
    config: SweepConfig, *, epochs: int, trials: Sequence[Trial], results: Results
) -> tuple[Standing, ...]:
    """Return how each trial stands, from the best to the worst; see `ranked`."""
    plan = brackets(config, epochs=epochs, num_trials=count_trials(config))
    outcomes = Outcomes(config, results)
    courses = [Course(config, bracket, len(trials), outcomes) for bracket in plan]
    return tuple(ranked(config, [c.standing(n) for c in courses for n in c.members]))


def importance(
    config: SweepConfig, *, epochs: int, trials: Sequence[Trial], results: Results
) -> dict[str, float] | None:
    """Return how much each parameter matters for being among the best tenth of the trials.

    The best are those of `standings`: where trials are pruned, those that came furthest; with two
    objectives, those nearest to the Pareto front. Estimated by PED-ANOVA, the numbers sum to 1.
    None if too few trials have scores.
    """
    values = {trial.number: trial.values for trial in trials}
    found = standings(config, epochs=epochs, trials=trials, results=results)
    if len(config.objective) == 1:
        return tpe.importance(config, [(values[each.number], None) for each in found])
    scored = [(values[each.number], each.scores) for each in found if each.scores is not None]
    return tpe.importance(config, scored)


def _chosen(config: SweepConfig, scores: Mapping[int, Scores]) -> tuple[int, ...]:
    if len(config.objective) > 1:
        return pareto_front(config, scores)
    best = min(scores, key=lambda number: (losses(config, scores[number]), number), default=None)
    return () if best is None else (best,)


def _best_so_far(courses: Sequence[Course]) -> dict[int, Scores]:
    """Return the scores of the trials that can win if the sweep ends now."""
    standing = {
        n: (course.standing(n), course.reached(n)) for course in courses for n in course.alive
    }
    most = max((reached for _, reached in standing.values()), default=0)
    return {
        number: own.scores
        for number, (own, reached) in standing.items()
        if own.scores is not None and (reached == most or own.is_complete)
    }


def _next_trials(
    config: SweepConfig,
    course: Course,
    known: Sequence[Trial],
    *,
    before: Sequence[Course],
    most: int | None = None,
) -> list[Trial]:
    """Return the trials of a bracket that have to be there now and are not, in all at most `most`.

    `known` are all trials of the sweep so far, `before` the courses of the brackets before.
    """
    bracket = course.bracket
    start, stop = max(len(known), bracket.first), bracket.members.stop
    if config.sampler == "tpe":
        begin = start - (start - bracket.first) % config.window
        stop = min(stop, begin + config.window)
        is_ready = all(each.is_over for each in before) and course.has_results(stop=begin)
        stop = stop if is_ready else start
    stop = stop if most is None else min(stop, most)
    if start >= stop:
        return []
    earlier = [trial.values for trial in known]
    if config.sampler == "tpe":
        told = [each.standing(n) for each in (*before, course) for n in each.members if n < begin]
        values = tpe.proposed(
            config, told, start=start, stop=stop, earlier=earlier, window_begin=begin
        )
    else:
        values = drawn(config, start=start, stop=stop, earlier=earlier)
    return [Trial(start + index, each, bracket.number) for index, each in enumerate(values)]
