"""The metrics by which a trial is compared, from its run, which may go on afterwards."""

from collections.abc import Collection, Mapping
from contextlib import suppress

from dropout_core.config.sweep import CROSS_VALIDATION, OF_TRAINING
from dropout_core.evaluation.cross_validation import summary
from dropout_core.pipeline.completion import evaluate_as_served, refit
from dropout_core.pipeline.tabular_run import Part, TabularRun
from dropout_core.training.loop import Diverged

_VALIDATION: tuple[Part, ...] = ("validation",)


def needs_evaluation(names: Collection[str]) -> bool:
    """Return whether one of these metrics is that of the model as it would be served."""
    return any(not n.startswith(CROSS_VALIDATION) and n not in OF_TRAINING for n in names)


def trial_metrics(
    run: TabularRun,
    names: Collection[str],
    *,
    over_folds: Mapping[str, float | None] | None = None,
) -> dict[str, float | None]:
    """Return the metrics with these names of the model that training would end with now.

    `over_folds` has the means of metrics over folds, without their prefix. What is undefined for
    the validation rows is None. Raises Diverged if outputs are not finite.
    """
    kept = run.training.kept
    known: dict[str, float | None] = {
        "validation_loss": kept.validation_loss,
        "validation_score": kept.validation_score,
        "num_parameters": sum(parameter.numel() for parameter in run.model.parameters()),
    }
    known |= {f"{CROSS_VALIDATION}{name}": value for name, value in (over_folds or {}).items()}
    if needs_evaluation(names):
        evaluations = evaluate_as_served(run.as_if_over(), parts=_VALIDATION)
        known |= evaluations["validation"].metrics
    return {name: known[name] for name in names}


def means_over_folds(run: TabularRun) -> dict[str, float | None]:
    """Train each fold of a run's table as the run is configured; return the mean of each metric.

    A fold that diverges is scored as it is, which still tells something about the config.
    """
    scored = []
    for number in range(len(run.table.folds)):
        fold = run.fold(number)
        refitted = None
        with suppress(Diverged):
            for _ in fold.training:
                pass
            refitted = refit(fold)
        scored.append(evaluate_as_served(fold, refitted)["test"].to_dict())
    means: dict[str, float | None] = summary(scored)["mean"]
    return means
