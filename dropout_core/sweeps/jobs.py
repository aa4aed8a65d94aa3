"""The jobs of a trial: the base job with the trial's values, one for each repeat."""

from collections.abc import Mapping
from typing import Any

from dropout_core.config import MLPConfig, TrainingConfig, can_stack
from dropout_core.sweeps.space import apply

_NUM_SEEDS = 2**53  # of `config.base.Seed`


def trial_job(job: Mapping[str, Any], values: Mapping[str, Any], *, repeat: int) -> dict[str, Any]:
    """Return the job of one repeat of a trial, as JSON; `job` is the base job with every value.

    Repeat r has the seed of the trial + r. What it returns has not been validated. Raises
    PointerError as `space.apply` does.
    """
    trial = apply(job, values)
    training = trial.setdefault("training", {})
    seed = training.get("seed", 0)
    if isinstance(seed, int):
        training["seed"] = (seed + repeat) % _NUM_SEEDS
    return trial


def as_trial(model: MLPConfig, training: TrainingConfig) -> TrainingConfig:
    """Return how a trial is trained: in a stack if its network can be stacked, also when alone.

    So its bits do not depend on which trials are trained together.
    """
    return training.model_copy(update={"stacked": can_stack(model, training)})
