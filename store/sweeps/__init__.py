"""Sweeps: their rows, and how decisions about them are applied (docs/sweeps.md)."""

from store.sweeps.decisions import Changes, NewTrial, TrialJob, advance
from store.sweeps.events import SweepEvent, told_rungs
from store.sweeps.events import page as event_page
from store.sweeps.progress import JobOfTrial, Progress, jobs_of_trials, progress_of, state_of
from store.sweeps.requests import cancel, exhaust, pause, resume
from store.sweeps.rows import (
    STATES,
    RungRow,
    Sweep,
    TrialRow,
    TrialState,
    create,
    find,
    get,
    jobs_of,
    page,
    remove,
    results_of,
    seconds_since_creation,
    states,
    states_of_trials,
    trials_of,
    undriven,
    winning_jobs,
)

__all__ = [
    "STATES",
    "Changes",
    "JobOfTrial",
    "NewTrial",
    "Progress",
    "RungRow",
    "Sweep",
    "SweepEvent",
    "TrialJob",
    "TrialRow",
    "TrialState",
    "advance",
    "cancel",
    "create",
    "event_page",
    "exhaust",
    "find",
    "get",
    "jobs_of",
    "jobs_of_trials",
    "page",
    "pause",
    "progress_of",
    "remove",
    "results_of",
    "resume",
    "seconds_since_creation",
    "state_of",
    "states",
    "states_of_trials",
    "told_rungs",
    "trials_of",
    "undriven",
    "winning_jobs",
]
