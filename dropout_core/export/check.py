"""An export has to answer as the service does, but for the rounding of float32.

Shapes: N rows, V values, K codes of categories, C outputs.
"""

import copy
import math

import torch
from torch import Generator, Tensor, nn

from dropout_core.config import Task
from dropout_core.errors import ModelError
from dropout_core.export.examples import example_rows
from dropout_core.model.forward import as_predicted
from dropout_core.model.predictor import Predictor
from dropout_core.model.saved_model import Description, TabularModel

_UNIT = 2.0**-24  # what float32 rounds by
_MIN_UNITS = 8  # what functions such as tanh may be off by, with some to spare
_NUM_TRIALS = 8
_MARGIN = 8.0
_OF_FLOAT64 = 2.0**-40  # relative: sums of a thousand probabilities, and whole units of targets


class WholeModel(nn.Module):
    """What `Predictor.outputs` computes, in any number of rows: (N, V + K) -> (N, C), float64."""

    def __init__(self, model: TabularModel, task: Task) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.eval().requires_grad_(False)

    def forward(self, matrix: Tensor) -> Tensor:
        return as_predicted(self.model(matrix), self.task)


class Check:
    """What the service answers to `examples`, and how far off an export of `whole` may be.

    Example rows to which the service has no finite answer, and would refuse one, are left out of
    the comparison. Raises ModelError if that leaves none.
    """

    def __init__(self, model: TabularModel, description: Description) -> None:
        self.predictor = Predictor(model, description)
        self.examples = example_rows(description.encoder, model.preprocessing)
        self._expected = self.predictor.outputs(self.examples.matrix)
        self._compared = self._expected.isfinite().all(dim=1)
        if not self._compared.any():
            raise ModelError("no example row has a finite answer: there is nothing to export")
        self.whole = WholeModel(copy.deepcopy(model), description.task)
        self._tolerance = tolerance(self.whole, self.examples.matrix[self._compared])

    def require_same(self, outputs: Tensor) -> None:
        """Raise ModelError unless the exported file's outputs (N, C) are those of the service."""
        if outputs.shape != self._expected.shape or outputs.dtype != self._expected.dtype:
            raise ModelError("the exported file gives outputs of another shape; it is not sent")
        off = (outputs - self._expected)[self._compared].abs()
        if not (off <= self._tolerance).all():
            raise ModelError(
                f"the exported file answers otherwise than the service, by up to {off.max():.3g}; "
                "it is not sent"
            )

    def require_same_bits(self, outputs: Tensor) -> None:
        """Raise ModelError unless these outputs (N, C) are the service's own, NaN too."""
        if not torch.equal(outputs.view(torch.int64), self._expected.view(torch.int64)):
            raise ModelError("the exported file does not give the service's bits; it is not sent")


@torch.inference_mode()
def tolerance(model: WholeModel, matrix: Tensor) -> Tensor:
    """How far float32 may lead two computations of a row apart: (N, V + K) -> (N, C).

    A product of n terms, rounded in whatever order, is the exact one of weights that are off by
    about sqrt(n) units (Higham and Mary 2019, theorem 2.4). So the weights are moved by as much, up
    or down at random, and a row's outputs may differ by a multiple of the most that any of them
    moves, a regression's in the units that it was trained in. `model` is left as it is.
    """
    outputs: Tensor = model(matrix)
    scale = model.model.target_scale
    moved_model = copy.deepcopy(model)
    widest = max(linear.in_features for linear in model.model.network.linears)
    step = _UNIT * max(_MIN_UNITS, math.sqrt(widest))
    stream = Generator().manual_seed(0)
    furthest = torch.zeros(len(matrix), 1, dtype=torch.float64)
    for _ in range(_NUM_TRIALS):
        for weights, moved in zip(model.parameters(), moved_model.parameters(), strict=True):
            is_up = torch.randint(2, weights.shape, generator=stream, dtype=torch.int8).bool()
            moved.copy_(weights * torch.where(is_up, 1 + step, 1 - step))
        off = (moved_model(matrix) - outputs).abs() / scale
        furthest = furthest.maximum(off.amax(dim=1, keepdim=True))
    return _MARGIN * furthest * scale + _OF_FLOAT64 * outputs.abs()
