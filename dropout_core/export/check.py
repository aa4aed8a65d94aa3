"""Check that an export answers as the service does, up to the rounding of float32.

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

_UNIT = 2.0**-24  # the unit roundoff of float32
_MIN_UNITS = 8  # above the error of functions such as tanh
_NUM_TRIALS = 8
_MARGIN = 8.0
_FLOAT64_TOLERANCE = 2.0**-40  # relative: sums of a thousand probabilities, and targets' units


class WholeModel(nn.Module):
    """The computation of `Predictor.outputs` as one torch module: dropout off, any number of rows.

    Shape: (N, V + K) float64, as `Encoder.encode` gives it -> (N, C) float64: probabilities of the
    classes or labels, or a regression's values or quantiles in the targets' units.
    """

    def __init__(self, model: TabularModel, task: Task, *, num_quantiles: int = 1) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.num_quantiles = num_quantiles
        self.eval().requires_grad_(False)

    def forward(self, matrix: Tensor) -> Tensor:
        return as_predicted(self.model(matrix), self.task, num_quantiles=self.num_quantiles)


class Check:
    """The service's answers to `examples`, and the tolerance for an export of `whole`.

    The comparison leaves out example rows without a finite answer, which the service would refuse.
    Raises ModelError if no row remains.
    """

    def __init__(self, model: TabularModel, description: Description) -> None:
        self.predictor = Predictor(model, description)
        self.examples = example_rows(description.encoder, model.preprocessing)
        self._expected = self.predictor.outputs(self.examples.matrix)
        self._compared = self._expected.isfinite().all(dim=1)
        if not self._compared.any():
            raise ModelError("no example row has a finite answer: the model cannot be exported")
        self.whole = WholeModel(
            copy.deepcopy(model), description.task, num_quantiles=description.num_quantiles
        )
        self._tolerance = tolerance(self.whole, self.examples.matrix[self._compared])

    def require_same(self, outputs: Tensor) -> None:
        """Raise ModelError unless the file's outputs (N, C) are the service's, within tolerance."""
        if outputs.shape != self._expected.shape or outputs.dtype != self._expected.dtype:
            raise ModelError(
                "the exported file gives outputs of another shape or dtype; it is not sent"
            )
        difference = (outputs - self._expected)[self._compared].abs()
        if not (difference <= self._tolerance).all():
            raise ModelError(
                "the exported file's outputs differ from the service's by up to "
                f"{difference.max():.3g}; it is not sent"
            )

    def require_same_bits(self, outputs: Tensor) -> None:
        """Raise ModelError unless these outputs (N, C) have the service's bits, NaN included."""
        if not torch.equal(outputs.view(torch.int64), self._expected.view(torch.int64)):
            raise ModelError("the exported file does not give the service's bits; it is not sent")


@torch.inference_mode()
def tolerance(model: WholeModel, matrix: Tensor) -> Tensor:
    """Return the tolerance between two float32 computations of a row: (N, V + K) -> (N, C).

    A dot product of n terms, rounded in any order, is the exact one for weights that differ by
    about sqrt(n) units (Higham and Mary 2019, theorem 2.4). So the weights are moved by as much, up
    or down at random. The tolerance of a row is a multiple of the largest change of its outputs,
    for a regression in the scaled units of its training. `model` is not changed.
    """
    outputs: Tensor = model(matrix)
    scale = model.model.target_scale
    moved_model = copy.deepcopy(model)
    network = model.model.network
    widest = max(linear.in_features for linear in network.linears)
    if network.inputs is not None and network.inputs.numbers is not None:
        widest = max(widest, network.inputs.numbers.num_entries)
    step = _UNIT * max(_MIN_UNITS, math.sqrt(widest))
    stream = Generator().manual_seed(0)
    largest = torch.zeros(len(matrix), 1, dtype=torch.float64)
    for _ in range(_NUM_TRIALS):
        for weights, moved in zip(model.parameters(), moved_model.parameters(), strict=True):
            is_up = torch.randint(2, weights.shape, generator=stream, dtype=torch.int8).bool()
            moved.copy_(weights * torch.where(is_up, 1 + step, 1 - step))
        change = (moved_model(matrix) - outputs).abs() / scale
        largest = largest.maximum(change.amax(dim=1, keepdim=True))
    return _MARGIN * largest * scale + _FLOAT64_TOLERANCE * outputs.abs()
