"""Drive sweeps: read the results, decide what follows, apply it once. Does not import torch.

Any process may drive any sweep at any time. What follows is a function of the rows, and it is
applied in the round that it was decided in, so that of two drivers one is heard.
"""

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection as Pipe
from typing import Any

import structlog
from pydantic import ValidationError
from pydantic_core import to_json
from sqlalchemy import Connection as Transaction

from dropout_core.config import stack_key
from dropout_core.sweeps.course import Rung, Trial
from dropout_core.sweeps.decision import Decision, decide, importance
from dropout_core.sweeps.jobs import as_repeat
from dropout_core.sweeps.objectives import Result
from dropout_core.sweeps.space import PointerError, apply, count_trials
from store import jobs, sweeps
from store.database.engine import Database
from store.job_spec import JobSpec
from store.jobs import RungResult
from store.sweep_spec import SweepSpec
from store.sweeps import Changes, NewTrial, Sweep, TrialJob, TrialRow, TrialState

log = structlog.get_logger()

_processes = multiprocessing.get_context("forkserver")

Key = tuple[int, int, int]  # trial, repeat, rung


@dataclass(frozen=True)
class Rows:
    """A running sweep as it was read, in one transaction."""

    sweep: Sweep
    trials: Sequence[Trial]
    results: Mapping[Key, Result]
    faults: Mapping[Key, str]  # why results have no scores
    states: Sequence[TrialState]
    told_rungs: set[tuple[int, int]]
    age_seconds: float


def advance(sweep_id: str, database: Database) -> list[str]:
    """Apply what follows from the sweep's results; return the jobs that have ended by that.

    Two processes may do that at once. Nothing is done to a sweep that is paused, has ended, or is
    deleted.
    """
    ended: list[str] = []
    while True:
        with database.read() as transaction:
            rows = _read(transaction, sweep_id)
        if rows is None or (changes := _changes(rows)) is None:
            return ended
        with database.write() as transaction:
            applied = sweeps.advance(transaction, rows.sweep, changes)
        if applied is not None:
            stopped = _stopped(rows, changes)
            ended += stopped
            log.info(
                "sweep advanced",
                sweep=sweep_id,
                round=applied.round,
                state=applied.state,
                new_trials=len(changes.new_trials),
                promoted=len(changes.promoted),
                ended=len(stopped),
            )
            if not (changes.failed or changes.winners):  # after which more may follow
                return ended


def metrics(transaction: Transaction, sweep_id: str) -> tuple[str, ...]:
    """Return what the trials of the sweep are scored by."""
    sweep = sweeps.find(transaction, sweep_id)
    return () if sweep is None else tuple(o.metric for o in sweep.as_submitted.objective)


def _read(transaction: Transaction, sweep_id: str) -> Rows | None:
    sweep = sweeps.find(transaction, sweep_id)
    if sweep is None or sweep.state != "running":
        return None
    found = sweeps.results_of(transaction, sweep_id)
    return Rows(
        sweep,
        [
            Trial(row.number, row.values, row.bracket)
            for row in sweeps.trials_of(transaction, sweep_id)
        ],
        {
            (row.trial, row.repeat, row.rung): Result(
                None if row.values is None else tuple(row.values), row.is_finished
            )
            for row in found
        },
        {(row.trial, row.repeat, row.rung): row.detail for row in found if row.detail is not None},
        sweeps.states_of_trials(transaction, sweep_id),
        sweeps.told_rungs(transaction, sweep_id),
        sweeps.seconds_since_creation(transaction, sweep),
    )


def _changes(rows: Rows) -> Changes | None:
    """Return what follows from the rows; None if nothing does."""
    spec = rows.sweep.as_submitted
    if rows.sweep.winners is not None:
        return _completion(rows, spec, rows.sweep.winners)
    seconds = spec.budget.seconds
    is_late = seconds is not None and rows.age_seconds >= seconds and not rows.sweep.is_exhausted
    is_exhausted = rows.sweep.is_exhausted or is_late
    failed = _failures(rows)
    while True:
        results = {**rows.results, **{key: Result(None) for key in failed}}
        decision = _decide(spec, rows.trials, results, is_exhausted=is_exhausted)
        if not (more := _failures_of_promoted(rows, results, decision)):
            break
        failed |= more
    new, refused = _new_trials(spec, decision)
    new_failures = failed | refused
    changes = Changes(
        new_trials=tuple(new),
        failed=new_failures,
        promoted=dict(_promoted(rows, results, decision)),
        stopped=_to_stop(rows.states, decision),
        winners=decision.winners,
        is_exhausted=is_late,
        events=tuple(_events(rows, decision, is_late=is_late)),
        end=_end_without_winner(rows, results, new_failures, decision, is_exhausted=is_exhausted)
        if decision.winners == ()
        else None,
    )
    return None if changes == Changes() else changes


def _completion(rows: Rows, spec: SweepSpec, winners: Sequence[int]) -> Changes | None:
    """Return the end of a sweep whose winners are completed, or what it takes to complete them."""
    if rows.sweep.importance is None:  # it takes a moment, and the winners are queued already
        epochs = spec.job.training.epochs
        found = importance(spec, epochs=epochs, trials=rows.trials, results=rows.results)
        return Changes(importance=found or {})
    first = [each for each in rows.states if each.trial in winners and each.repeat == 0]
    if any(each.state == "paused" and each.rung is not None for each in first):
        return Changes(winners=winners)  # it ran when it was chosen
    if any(each.state not in jobs.TERMINAL for each in first):
        return None
    without_model = [each for each in first if each.state != "succeeded"]
    if not without_model:
        return Changes(end=("succeeded", "completed", None))
    state, reason = without_model[0].state, without_model[0].state_reason or "no_winner"
    return Changes(end=(state, reason, without_model[0].detail))


def _end_without_winner(
    rows: Rows,
    results: Mapping[Key, Result],
    new: Mapping[Key, RungResult],
    decision: Decision,
    *,
    is_exhausted: bool,
) -> tuple[str, str, str]:
    failed = sorted(key for key in {*results, *new} if key in new or results[key].has_failed)
    num_failed = len({trial for trial, _, _ in failed})
    has_promoted = any(rung.promoted for rung in decision.rungs)
    if is_exhausted and (not failed or not (has_promoted or num_failed == len(rows.trials))):
        why = "the sweep was to end with the best so far before a trial had a score"
        return "failed", "no_winner", why
    what = "every trial" if num_failed >= len(rows.trials) else "every trial that was promoted"
    first = failed[0]
    fault = new[first].detail if first in new else rows.faults.get(first)
    why = f"{what} has failed; trial {first[0]}: {fault or 'its score is not finite'}"
    return "failed", "no_winner", why


def _failures(rows: Rows) -> dict[Key, RungResult]:
    """Return the results of repeats whose job has ended before its rung, or while it waited there.

    What a trial had at a rung that is decided stands.
    """
    bracket_of = {trial.number: trial.bracket for trial in rows.trials}
    failed: dict[Key, RungResult] = {}
    for each in rows.states:
        if each.state not in jobs.TERMINAL or each.rung is None:
            continue
        key = (each.trial, each.repeat, each.rung)
        known = rows.results.get(key)
        is_open = (bracket_of[each.trial], each.rung) not in rows.told_rungs
        is_by_user = each.state_reason not in ("pruned", "not_chosen")
        if known is None or (is_open and is_by_user and not known.has_failed):
            failed[key] = _failure_of(each)
    return failed


def _failures_of_promoted(
    rows: Rows, results: Mapping[Key, Result], decision: Decision
) -> dict[Key, RungResult]:
    """Return the results of repeats that are promoted, but whose job has ended at an earlier rung.

    They fail at the first rung that is not decided.
    """
    failed: dict[Key, RungResult] = {}
    for each in rows.states:
        if each.state not in jobs.TERMINAL or each.rung is None or each.trial in decision.pruned:
            continue
        not_decided = (
            (each.trial, each.repeat, rung.number)
            for rung in decision.rungs
            if rung.number > each.rung
            and each.trial in rung.entered
            and (rung.bracket, rung.number) not in rows.told_rungs
        )
        key = next(not_decided, None)
        if key is not None and key not in results:
            failed[key] = _failure_of(each)
    return failed


def _failure_of(state: TrialState) -> RungResult:
    return RungResult(state.epochs_completed, None, False, state.detail or state.state_reason)


def _promoted(
    rows: Rows, results: Mapping[Key, Result], decision: Decision
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield the repeats whose training goes on, with their next rung and its epochs."""
    rung_of = {trial: rung.number for rung in decision.rungs for trial in rung.entered}
    finished = {(trial, repeat) for (trial, repeat, _), r in results.items() if r.finished}
    for each in rows.states:
        if each.state != "paused" or each.rung is None or each.trial in decision.pruned:
            continue
        rung = rung_of[each.trial]
        if rung > each.rung and (each.trial, each.repeat) not in finished:
            yield (each.trial, each.repeat), (rung, decision.epochs[each.trial])


def _to_stop(states: Sequence[TrialState], decision: Decision) -> dict[int, str]:
    """Return why trials are over whose jobs do not know it yet."""
    going_on = {each.trial for each in states if each.state in ("queued", "running", "paused")}
    return {trial: fate for trial, fate in decision.pruned.items() if trial in going_on}


def _events(
    rows: Rows, decision: Decision, *, is_late: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    if new := decision.new_trials:
        yield "trials", {"first": new[0].number, "last": new[-1].number}
    if is_late:
        yield "exhausted", {"by": "time"}
    for rung in decision.rungs:
        if rung.is_full and (rung.bracket, rung.number) not in rows.told_rungs:
            yield "rung", _told(rung)
    if decision.winners:
        yield "winner", {"trials": list(decision.winners)}


def _told(rung: Rung) -> dict[str, Any]:
    return {
        "bracket": rung.bracket,
        "rung": rung.number,
        "epochs": rung.epochs,
        "entered": len(rung.entered),
        "promoted": list(rung.promoted),
    }


def _new_trials(
    spec: SweepSpec, decision: Decision
) -> tuple[list[NewTrial], dict[Key, RungResult]]:
    """Return the new trials with their jobs, and results for those whose config cannot be."""
    base = spec.job.every_value() | {"name": spec.job.name or spec.name}
    new: list[NewTrial] = []
    refused: dict[Key, RungResult] = {}
    for trial in decision.new_trials:
        row = TrialRow(trial.number, trial.bracket, trial.values)
        try:
            job = JobSpec.model_validate(apply(base, trial.values)).naming_monitor()
        except (PointerError, ValidationError) as error:
            detail = (
                str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error)
            )
            new.append(NewTrial(row, ()))
            result = RungResult(0, None, False, detail)
            refused |= {(trial.number, repeat, 0): result for repeat in range(spec.repeats)}
            continue
        key = stack_key_of(job)
        repeats = [
            TrialJob(trial.number, n, repeat, key, 0, decision.epochs[trial.number])
            for n, repeat in enumerate(_repeats(job, spec.repeats))
        ]
        new.append(NewTrial(row, repeats))
    return new, refused


def _repeats(job: JobSpec, count: int) -> Iterator[JobSpec]:
    """Yield the jobs of a trial's repeats, which differ in their seed."""
    for number in range(count):
        training = as_repeat(job.model, job.training, number=number)
        yield job.model_copy(update={"training": training})


def stack_key_of(job: JobSpec) -> str | None:
    """Return the key that trials have in common which can train as one; None for none."""
    training = job.training.model_copy(update={"stacked": True})
    rest = {
        "dataset": job.dataset.model_dump(mode="json"),
        "task": job.task,
        "preprocessing": job.preprocessing.model_dump(mode="json"),
    }
    return stack_key(model=job.model, training=training, rest=to_json(rest))


def _decide(
    spec: SweepSpec,
    trials: Sequence[Trial],
    results: Mapping[Key, Result],
    *,
    is_exhausted: bool,
) -> Decision:
    """Ask what follows. Points of Sobol are drawn in a process of its own, as that needs torch."""
    asked = partial(
        decide,
        spec,
        epochs=spec.job.training.epochs,
        trials=trials,
        results=results,
        is_exhausted=is_exhausted,
    )
    if spec.sampler != "sobol" or len(trials) == count_trials(spec):
        return asked()
    ours, theirs = _processes.Pipe()
    child = _processes.Process(target=_answer, args=(theirs, asked), daemon=True)
    child.start()
    theirs.close()
    try:
        answer: Decision = ours.recv()  # EOFError if the child has failed, which has told why
        return answer
    finally:
        ours.close()
        child.join()


def _answer(pipe: Pipe, asked: Callable[[], Decision]) -> None:
    pipe.send(asked())


def _stopped(rows: Rows, changes: Changes) -> list[str]:
    """Return the jobs that the changes have ended: those of stopped trials that held no worker."""
    winners = changes.winners or ()
    return [
        each.job_id
        for each in rows.states
        if each.state in ("queued", "paused")
        and (each.trial in changes.stopped or (each.trial in winners and each.repeat > 0))
    ]
