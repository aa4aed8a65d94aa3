"""What a sweep would do: its rungs, how long it would take, its first trials."""

import itertools

from app.sweeps.estimate import Network, measure
from app.sweeps.schemas import PlannedRung, SweepValidation
from app.sweeps.service import ResolvedSweep
from dropout_core.sweeps.rungs import Bracket, planned_epochs
from store.settings import Settings

NUM_SHOWN = 10


def validation_of(resolved: ResolvedSweep, settings: Settings) -> SweepValidation:
    """Return the sweep as it would run. It measures a few steps, which takes about 0.3 s."""
    spec = resolved.spec
    epochs = planned_epochs(spec, epochs=spec.job.training.epochs, num_trials=resolved.num_trials)
    return SweepValidation(
        num_trials=resolved.num_trials,
        num_jobs=resolved.num_jobs,
        rungs=[rung for bracket in resolved.brackets for rung in _rungs(bracket)],
        epochs=epochs,
        estimated_seconds=_seconds(resolved, settings, epochs=epochs),
        first_trials=[trial.values for trial in resolved.first_trials[:NUM_SHOWN]],
        num_parameters=resolved.base.sizes.num_parameters,
        estimated_bytes=resolved.base.sizes.training_bytes,
        warnings=list(resolved.warnings),
        resolved_config=spec.every_value(),
    )


def _rungs(bracket: Bracket) -> list[PlannedRung]:
    counts = itertools.accumulate(
        range(1, len(bracket.epochs)),
        lambda count, _: bracket.num_promoted(count),
        initial=bracket.size,
    )
    return [
        PlannedRung(bracket=bracket.number, number=number, epochs=epochs, num_trials=count)
        for number, (epochs, count) in enumerate(zip(bracket.epochs, counts, strict=True))
    ]


def _seconds(resolved: ResolvedSweep, settings: Settings, *, epochs: int) -> float | None:
    """Estimate the time of so many epochs; None if they need a GPU."""
    spec, sizes, plan = resolved.spec, resolved.base.sizes, resolved.plan
    if resolved.base.queue != "cpu" or spec.job.training.device == "cuda":
        return None
    rates = measure(
        Network(
            spec.job.model,
            spec.job.training,
            sizes.in_features,
            sizes.out_features,
            plan.selection.task,
            num_rows=plan.num_train,
            num_validation=plan.num_validation,
        )
    )
    num_parallel = min(settings.concurrency, spec.max_parallel or settings.concurrency)
    return round(rates.seconds(epochs * plan.num_train) / min(num_parallel, resolved.num_jobs), 1)
