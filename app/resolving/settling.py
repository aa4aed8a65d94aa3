"""Settle what a job leaves open, by its preset and the limits of the service."""

from pydantic import ValidationError

from app.http.errors import RequestError, escaped, invalid
from dropout_core.config import Preset, Recipe, TrainingConfig, settled
from dropout_core.config.presets import check_goal
from dropout_core.data.selection import Selection
from store.job_spec import JobSpec
from store.settings import Settings


def settle(
    spec: JobSpec, selection: Selection, settings: Settings, *, num_train: int, num_validation: int
) -> tuple[JobSpec, list[str]]:
    """Return the job with a value for each field, and what its owner should know of them.

    The job's own values are refused if they exceed the limits of the service, and those of its
    preset are lowered. Raises RequestError (422) with the field at fault.
    """
    _require_within_limits(spec.training, settings)
    name = spec.preset_in_force
    recipe = _recipe(name, spec, selection, num_train=num_train, has_validation=num_validation > 0)
    warnings = []
    if name != "plain" and not num_validation:
        warnings += _without_validation(name, spec.training)
    training = recipe.training
    for field, limit in _limits(settings).items():
        if getattr(training, field) > limit:
            warnings.append(
                f"{field} is {limit}, the most that this service allows; the preset {name} has "
                f"{getattr(training, field)}"
            )
            training = training.model_copy(update={field: limit})
    if training.max_runtime_seconds is None:
        longest = {"max_runtime_seconds": settings.max_runtime_seconds}
        training = training.model_copy(update=longest)
    values = {**recipe._asdict(), "training": training, "preset": name}
    return spec.model_copy(update=values).naming_monitor(), warnings


def _recipe(
    name: Preset, spec: JobSpec, selection: Selection, *, num_train: int, has_validation: bool
) -> Recipe:
    if spec.optimise_for is not None:
        try:
            check_goal(spec.optimise_for, selection.task)
        except ValueError as error:
            raise invalid("/optimise_for", str(error)) from error
    try:
        return settled(
            name,
            task=selection.task,
            num_rows=num_train,
            num_columns=len(selection.features),
            optimise_for=spec.optimise_for,
            has_numbers=not {"numeric", "datetime"}.isdisjoint(selection.features.values()),
            has_validation=has_validation,
            preprocessing=spec.preprocessing,
            model=spec.model,
            training=spec.training,
        )
    except ValidationError as error:
        raise _misfit(error, name) from error


def _misfit(error: ValidationError, name: Preset) -> RequestError:
    """Return the error (422) for values of the job that do not fit those of the preset."""
    flaw = error.errors()[0]
    pointer = "".join(f"/{escaped(part)}" for part in flaw["loc"])
    return invalid(pointer, f"with the values of the preset {name}: {flaw['msg']}")


def _without_validation(name: Preset, given: TrainingConfig) -> list[str]:
    """Return a warning of what the preset leaves out that the job says nothing of."""
    effects = {
        "early_stopping": f"the preset {name} trains to its last epoch",
        "calibrate": "the probabilities and intervals of the model are not calibrated",
    }
    left_out = [told for field, told in effects.items() if field not in given.model_fields_set]
    return [f"there are no validation rows: {', and '.join(left_out)}"] if left_out else []


def _limits(settings: Settings) -> dict[str, int]:
    return {"epochs": settings.max_epochs, "batch_size": settings.max_batch_size}


def _require_within_limits(training: TrainingConfig, settings: Settings) -> None:
    """Raise RequestError (422) for a value of the job that exceeds its limit."""
    limits = {**_limits(settings), "max_runtime_seconds": settings.max_runtime_seconds}
    for name, limit in limits.items():
        asked = getattr(training, name)
        is_given = name in training.model_fields_set and asked is not None
        if limit is not None and is_given and asked > limit:
            raise invalid(f"/training/{name}", f"{asked:g} is more than {limit:g}, the limit here")
