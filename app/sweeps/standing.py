"""How a sweep and its trials stand, from their rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from sqlalchemy import Connection

from app.sweeps.schemas import (
    RungAnswer,
    Score,
    SweepAnswer,
    SweepProgress,
    SweepSummary,
    TrialAnswer,
    TrialJob,
    TrialPage,
    TrialRung,
    progress_answer,
    summary_of,
)
from dropout_core.config import SweepConfig
from dropout_core.sweeps.course import Outcomes, Rung, Standing, Trial
from dropout_core.sweeps.decision import decide, standings
from dropout_core.sweeps.objectives import Result, Results, deviations
from dropout_core.sweeps.rungs import planned_epochs
from dropout_core.sweeps.space import count_trials
from store import models, sweeps
from store.sweeps import JobOfTrial, Progress, RungRow, Sweep, TrialRow


@dataclass(frozen=True)
class Rows:
    """The rows of one sweep, as they are read in one transaction."""

    sweep: Sweep
    config: SweepConfig
    trials: list[TrialRow]
    results: list[RungRow]
    jobs: dict[int, list[JobOfTrial]]
    models: dict[str, str]  # by job

    @property
    def epochs(self) -> int:
        """Return the epochs of the base job."""
        return _epochs_of(self.sweep)

    @cached_property
    def known_trials(self) -> list[Trial]:
        return [Trial(row.number, row.values, row.bracket) for row in self.trials]

    @cached_property
    def known_results(self) -> Results:
        return {
            (row.trial, row.repeat, row.rung): Result(
                None if row.values is None else tuple(row.values), row.is_finished
            )
            for row in self.results
        }

    @cached_property
    def standings(self) -> dict[int, Standing]:
        """Return how each trial stands, by number; the best comes first."""
        ranked = standings(
            self.config, epochs=self.epochs, trials=self.known_trials, results=self.known_results
        )
        return {standing.number: standing for standing in ranked}

    @cached_property
    def rungs(self) -> tuple[Rung, ...]:
        # Exhausted, so that no trial is added that is not there yet.
        decision = decide(
            self.config,
            epochs=self.epochs,
            trials=self.known_trials,
            results=self.known_results,
            is_exhausted=True,
        )
        return decision.rungs


def rows_of(transaction: Connection, sweep: Sweep) -> Rows:
    of_jobs: dict[int, list[JobOfTrial]] = {}
    for job in sweeps.jobs_of_trials(transaction, sweep.id):
        of_jobs.setdefault(job.trial, []).append(job)
    ended = [job.id for jobs in of_jobs.values() for job in jobs if job.state == "succeeded"]
    return Rows(
        sweep,
        _config_of(sweep),
        sweeps.trials_of(transaction, sweep.id),
        sweeps.results_of(transaction, sweep.id),
        of_jobs,
        models.of_jobs(transaction, ended),
    )


def summaries(transaction: Connection, found: Sequence[Sweep]) -> list[SweepSummary]:
    """Return sweeps as in a list."""
    progress = sweeps.progress_of(transaction, [sweep.id for sweep in found])
    winners = sweeps.winning_jobs(transaction, [sweep.id for sweep in found])
    of_jobs = models.of_jobs(transaction, list(winners.values()))
    return [
        SweepSummary.model_validate(
            summary_of(
                sweep,
                progress=_progress(sweep, _config_of(sweep), progress.get(sweep.id, Progress())),
                model_id=of_jobs.get(winners.get(sweep.id, "")),
            )
        )
        for sweep in found
    ]


def answer_of(transaction: Connection, sweep: Sweep) -> SweepAnswer:
    """Return the whole sweep."""
    rows = rows_of(transaction, sweep)
    progress = sweeps.progress_of(transaction, [sweep.id]).get(sweep.id, Progress())
    winners = [trial_answer(rows, number) for number in sweep.winners or []]
    has_front = len(rows.config.objective) > 1
    summary = summary_of(
        sweep,
        progress=_progress(sweep, rows.config, progress),
        model_id=winners[0].model if winners else None,
    )
    return SweepAnswer(
        **{name: summary[name] for name in SweepSummary.model_fields},
        winner=winners[0] if winners and not has_front else None,
        pareto_front=winners if winners and has_front else None,
        importance=sweep.importance,
        rungs=[RungAnswer.model_validate(vars(rung)) for rung in rows.rungs],
        resolved_config=sweep.as_submitted.every_value(),
    )


def trial_numbers(rows: Rows, *, order: Literal["score", "number"]) -> list[int]:
    """Return the numbers of the trials; by score, the best comes first."""
    return list(rows.standings) if order == "score" else [row.number for row in rows.trials]


def trial_page(
    rows: Rows, *, order: Literal["score", "number"], limit: int, after: int | None
) -> TrialPage:
    """Return a page of the trials that follow the one with the number `after`."""
    numbers = trial_numbers(rows, order=order)
    if after is not None:
        numbers = numbers[numbers.index(after) + 1 :] if after in numbers else []
    page = [trial_answer(rows, number) for number in numbers[:limit]]
    last_id = page[-1].number if page else None
    return TrialPage(data=page, has_more=len(numbers) > limit, last_id=last_id)


def trial_answer(rows: Rows, number: int) -> TrialAnswer:
    trial, standing = rows.trials[number], rows.standings[number]
    jobs = rows.jobs.get(number, [])
    own = [row for row in rows.results if row.trial == number]
    state = sweeps.state_of(jobs) if jobs else "failed"  # a config that cannot be has no job
    details = [job.detail for job in jobs] + [row.detail for row in own]
    return TrialAnswer.model_validate(
        {
            **vars(trial),
            "state": state,
            "detail": next(filter(None, details), None),
            "epochs_completed": min((job.epochs_completed for job in jobs), default=0),
            "scores": _scores(rows.config, standing),
            "rungs": _rungs_of(rows, trial),
            "trained": "stacked" if jobs and jobs[0].stack is not None else "alone",
            "model": next((rows.models[job.id] for job in jobs if job.id in rows.models), None),
            "jobs": [_job_answer(rows, job) for job in jobs],
        }
    )


def _job_answer(rows: Rows, job: JobOfTrial) -> TrialJob:
    own = [row for row in rows.results if (row.trial, row.repeat) == (job.trial, job.repeat)]
    scores = _named(rows.config, own[-1].values) if own else None
    return TrialJob.model_validate({**vars(job), "scores": scores})


def _rungs_of(rows: Rows, trial: TrialRow) -> list[TrialRung]:
    """Return the rungs at which the trial has scores or has failed."""
    outcomes = Outcomes(rows.config, rows.known_results)
    return [
        TrialRung(
            number=rung.number,
            epochs=rung.epochs,
            scores=_named(rows.config, outcomes.scores(trial.number, rung.number)),
        )
        for rung in rows.rungs
        if rung.bracket == trial.bracket
        and trial.number in rung.entered
        and outcomes.is_known(trial.number, rung.number)
    ]


def _scores(config: SweepConfig, standing: Standing) -> dict[str, Score] | None:
    if standing.scores is None:
        return None
    spread = deviations(standing.repeats) or (None,) * len(standing.scores)
    found = zip(config.objective, standing.scores, spread, strict=True)
    return {
        objective.metric: Score(mean=mean, deviation=deviation)
        for objective, mean, deviation in found
    }


def _named(config: SweepConfig, scores: Sequence[float] | None) -> dict[str, float] | None:
    if scores is None:
        return None
    names = [objective.metric for objective in config.objective]
    return dict(zip(names, scores, strict=True))


def _progress(sweep: Sweep, config: SweepConfig, progress: Progress) -> SweepProgress:
    num_trials = count_trials(config)
    epochs = planned_epochs(config, epochs=_epochs_of(sweep), num_trials=num_trials)
    return progress_answer(progress, max_trials=num_trials, epochs=epochs)


def _config_of(sweep: Sweep) -> SweepConfig:
    """Return the search without its job, which can have a setting for each of many columns."""
    fields: dict[str, Any] = {name: sweep.spec[name] for name in SweepConfig.model_fields}
    return SweepConfig.model_validate(fields)


def _epochs_of(sweep: Sweep) -> int:
    epochs: int = sweep.spec["job"]["training"]["epochs"]
    return epochs
