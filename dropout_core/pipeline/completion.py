"""What follows when the training of a run is over: a refit, the calibration and the scores."""

from collections.abc import Collection
from dataclasses import dataclass

import torch

from dropout_core.evaluation.evaluator import Evaluation
from dropout_core.pipeline.tabular_run import Part, TabularRun
from dropout_core.training.loop import Diverged


@dataclass(frozen=True)
class Completed:
    """A model as a job would keep it, and its scores on "validation" and "test"."""

    run: TabularRun
    evaluations: dict[str, Evaluation]


def complete(run: TabularRun) -> Completed:
    """Train the run to its end, then refit, calibrate and score its model as the config says.

    A refit that diverges leaves the model as it is. Raises Diverged if the run itself does.
    """
    for _ in run.training:
        pass
    refitted = refit(run)
    return Completed(refitted or run, evaluate_as_served(run, refitted))


def refit(run: TabularRun) -> TabularRun | None:
    """Train anew on the training and validation rows of a run that is over, if it is so configured.

    None if it is not, or if the refit diverges.
    """
    stopping = run.training.config.early_stopping
    if stopping is None or not stopping.refit:
        return None
    refitted = run.refit()
    try:
        for _ in refitted.training:
            pass
    except Diverged:
        return None
    return refitted


def evaluate_as_served(
    run: TabularRun,
    refitted: TabularRun | None = None,
    *,
    parts: Collection[Part] = ("validation", "test"),
) -> dict[str, Evaluation]:
    """Calibrate and score the model with one thread, as in serving, where it has the same bits.

    The validation rows, on which a refitted model was trained, are those of the run before it.
    """
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        calibrates = run.training.config.calibrate
        if calibrates:
            run.calibrate()
        evaluations = run.evaluate(parts)
        if refitted is None:
            return evaluations
        if calibrates:
            refitted.calibrate_as(run)
        return evaluations | refitted.evaluate()
    finally:
        torch.set_num_threads(num_threads)
