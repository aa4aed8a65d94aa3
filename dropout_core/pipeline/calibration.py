"""Calibrate a trained model on validation rows: its probabilities, and its conformal predictions.

Shapes: N rows, V + K columns of an encoded matrix, C outputs.
"""

import copy

import torch
from torch import Tensor

from dropout_core.model.conformal import class_scores, kept_scores, value_scores
from dropout_core.model.predictor import Predictor
from dropout_core.model.saved_model import Calibration, Description, TabularModel
from dropout_core.model.temperature import fit_temperature
from dropout_core.pipeline.encoded_split import EncodedRows
from dropout_core.training.validation import BATCH_SIZE


def calibrate(model: TabularModel, description: Description, rows: EncodedRows) -> Description:
    """Give `model` its temperature and its scores; return its new description.

    The scores are those of the calibrated model as it is served. A model that was calibrated before
    is calibrated anew.
    """
    task, temperature = description.task, 1.0
    if task != "regression":
        model.set_temperature(1.0)
        temperature = fit_temperature(_logits(model, rows.matrix), rows.targets, task=task)
        model.set_temperature(temperature)
    num_scores, model.scores = 0, None
    if task != "multilabel":
        outputs = Predictor(model, description).outputs(rows.matrix)
        scores_of = value_scores if task == "regression" else class_scores
        model.scores = kept_scores(scores_of(outputs, rows.targets))
        num_scores = len(model.scores)
    calibration = Calibration(temperature=temperature, num_scores=num_scores)
    return description.model_copy(update={"calibration": calibration})


@torch.inference_mode()
def _logits(model: TabularModel, matrix: Tensor) -> Tensor:
    """(N, V + K) -> (N, C) float64, on the CPU."""
    serving = copy.deepcopy(model).cpu().eval()
    return torch.cat([serving(part) for part in torch.split(matrix, BATCH_SIZE)])
