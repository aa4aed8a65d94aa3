"""The space of a sweep: combinations of values, and how they get into a job."""

from typing import Any

from dropout_core.config import SweepConfig


def apply(job: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a job, as JSON, with the values set at their pointers.

    Shorter pointers come first, so that a value can go into an object that another one is. Raises
    PointerError if an object that a pointer goes through is missing or is none.
    """
    raise NotImplementedError


def count_trials(config: SweepConfig) -> int:
    """Return the number of trials: that of the budget, or of all combinations if there are fewer."""
    raise NotImplementedError
