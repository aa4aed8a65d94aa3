"""Predictor: a trained model with dropout off, whose answer for a row is the same bits every time.

A matrix product rounds differently with the number of rows, and with narrow outputs even with the
row's place among them. So every product here has one shape, `TILE_ROWS` rows by at least
`TILE_COLUMNS` outputs, whatever the request; a row's bits then depend on the row alone, which
each model proves on this machine when it is loaded.

Shapes: N rows, F features, C outputs.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dropout_core.metrics import Evaluation, evaluate_classification, evaluate_regression
from dropout_core.tabular import Description, ModelError, TabularModel, load_model

TILE_ROWS = 32
TILE_COLUMNS = 16


@dataclass(frozen=True)
class Predictions:
    """`values` (N): the class or the regression value; `probabilities` (N, C) of classes."""

    values: list[Any]
    probabilities: Tensor | None


class Predictor:
    """A model for inference on one device. Raises ModelError if it is not batch-invariant there."""

    def __init__(
        self, model: TabularModel, description: Description, *, device: str = "cpu"
    ) -> None:
        self.description = description
        self.device = torch.device(device)
        self.fingerprint = fingerprint(self.device)
        self._model = copy.deepcopy(model).to(self.device).eval().requires_grad_(False)
        _widen_narrow_layers(self._model)
        self._prove_batch_invariance()

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu") -> "Predictor":
        """Read a model that `save_model` wrote. Raises ModelError unless its checksum holds."""
        return cls(*load_model(folder), device=device)

    @torch.inference_mode()
    def outputs(self, features: Tensor) -> Tensor:
        """Probabilities of the classes, or values in the target's units, dropout off.

        Shape: (N, F) -> (N, C) float64. Raises ValueError if F is not the model's.
        """
        num_rows, num_features = features.shape
        expected = len(self.description.features)
        if num_features != expected:
            raise ValueError(f"{num_features} features given, the model takes {expected}")
        result = torch.empty(num_rows, self.description.num_outputs, dtype=torch.float64)
        tile = torch.zeros(TILE_ROWS, num_features, dtype=torch.float64, device=self.device)
        for start in range(0, num_rows, TILE_ROWS):
            rows = features[start : start + TILE_ROWS]
            tile[: len(rows)] = rows
            outputs = self._model(tile)
            if self.description.classes is not None:
                outputs = outputs.softmax(dim=1)
            result[start : start + len(rows)] = outputs[: len(rows)].cpu()
        return result

    def predict(self, features: Tensor) -> Predictions:
        """Predict rows (N, F) of features in their own units."""
        outputs = self.outputs(features)
        classes = self.description.classes
        if classes is None:
            return Predictions(outputs[:, 0].tolist(), None)
        return Predictions([classes[i] for i in outputs.argmax(dim=1)], outputs)

    def evaluate(self, features: Tensor, targets: Tensor) -> Evaluation:
        """Score rows (N, F) against targets (N): class indices, or values in their own units."""
        outputs = self.outputs(features)
        if self.description.classes is None:
            return evaluate_regression(outputs[:, 0], targets)
        return evaluate_classification(outputs, targets)

    def _prove_batch_invariance(self) -> None:
        """Each of a tile's rows must have the same bits in every place and in any company."""
        shape = (TILE_ROWS, len(self.description.features))
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        mean, scale = self._model.feature_mean.cpu(), self._model.feature_scale.cpu()
        rows = noise * scale + mean
        together = self.outputs(rows)
        for shift in range(1, TILE_ROWS):
            rolled = self.outputs(rows.roll(shift, dims=0))
            alone = self.outputs(rows[shift : shift + 1])
            if not torch.equal(rolled.roll(-shift, dims=0), together) or not torch.equal(
                alone[0], together[shift]
            ):
                raise ModelError(
                    "a row's result depends on the rows around it on this machine "
                    f"({self.fingerprint}); the model is not served"
                )


class _WidenedLinear(nn.Module):
    """A linear layer computed with zero outputs added, up to TILE_COLUMNS of them."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.out_features = linear.out_features
        missing = TILE_COLUMNS - linear.out_features
        self.weight = F.pad(linear.weight, (0, 0, 0, missing))
        self.bias = None if linear.bias is None else F.pad(linear.bias, (0, missing))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)[:, : self.out_features].contiguous()


def _widen_narrow_layers(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Linear) and child.out_features < TILE_COLUMNS:
            setattr(module, name, _WidenedLinear(child))
        else:
            _widen_narrow_layers(child)


def fingerprint(device: torch.device | str) -> str:
    """What the promise of equal bits is scoped to, such as `cpu/avx512/torch-2.13.0/threads-1`."""
    device = torch.device(device)
    if device.type == "cuda":
        chip = torch.cuda.get_device_name(device).replace(" ", "-").lower()
        return f"cuda/{chip}/torch-{torch.__version__}/cuda-{torch.version.cuda}"
    instructions = torch.backends.cpu.get_cpu_capability().lower()
    return f"cpu/{instructions}/torch-{torch.__version__}/threads-{torch.get_num_threads()}"
