"""Predictor: a trained model with dropout off, whose answer for a row is the same bits every time.

A matrix product rounds differently with the number of rows, and with narrow outputs even with the
row's place among them. So every product here has one shape, `TILE_ROWS` rows by at least
`TILE_COLUMNS` outputs, whatever the request; a row's bits then depend on the row alone, which
each model proves on this machine when it is loaded.

Shapes: N rows, V values, K codes of categories, C outputs.
"""

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dropout_core.data import prepare
from dropout_core.data.errors import DataError
from dropout_core.data.missing import MISSING_WORDS
from dropout_core.errors import ModelError
from dropout_core.metrics import (
    Evaluation,
    evaluate_classification,
    evaluate_multilabel,
    evaluate_regression,
)
from dropout_core.tabular import Description, TabularModel, load_model

TILE_ROWS = 32
TILE_COLUMNS = 16
MAX_CELLS = 4_000_000  # of the matrix that a part of a frame becomes


@dataclass(frozen=True)
class Predictions:
    """`values` (N): the class or the regression value, or each target's by name where there are
    several, true or false of a label; `probabilities` (N, C) of classes.
    """

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

    def frame_of(self, instances: Sequence[Any]) -> pl.DataFrame:
        """JSON rows as a frame for `predict`; see `Encoder.frame_of`. Targets are passed over."""
        facts = self.description
        return facts.encoder.frame_of(instances, ignored=facts.targets)

    def encode(self, frame: pl.DataFrame, *, missing: Collection[str] = MISSING_WORDS) -> Tensor:
        """The features of each row as numbers: (N, V + K) float64; see `Encoder.encode`.

        Raises DataError naming the row and column of what cannot be read.
        """
        return torch.from_numpy(self.description.encoder.encode(frame, missing=missing))

    @torch.inference_mode()
    def outputs(self, matrix: Tensor) -> Tensor:
        """Probabilities of the classes, or values in the targets' units, dropout off.

        Shape: (N, V + K), as `encode` gives it -> (N, C) float64.
        """
        num_rows, num_columns = matrix.shape
        expected = self.description.encoder.num_columns
        if num_columns != expected:
            raise ValueError(f"{num_columns} columns given, the model takes {expected}")
        result = torch.empty(num_rows, self.description.num_outputs, dtype=torch.float64)
        tile = torch.zeros(TILE_ROWS, num_columns, dtype=torch.float64, device=self.device)
        for start in range(0, num_rows, TILE_ROWS):
            rows = matrix[start : start + TILE_ROWS]
            tile[: len(rows)] = rows
            outputs = self._probabilities(self._model(tile))
            result[start : start + len(rows)] = outputs[: len(rows)].cpu()
        return result

    def outputs_of(
        self, frame: pl.DataFrame, *, missing: Collection[str] = MISSING_WORDS
    ) -> Tensor:
        """`outputs` of the rows of a frame, a part at a time: in bounded memory beside them.

        Takes and raises what `encode` does.
        """
        num_rows = max(TILE_ROWS, MAX_CELLS // self.description.encoder.num_columns)
        parts = [torch.empty(0, self.description.num_outputs, dtype=torch.float64)]
        for start in range(0, max(1, len(frame)), num_rows):
            try:
                matrix = self.encode(frame[start : start + num_rows], missing=missing)
            except DataError as error:
                raise error.shifted(start) from error
            parts.append(self.outputs(matrix))
        return torch.cat(parts)

    def predict(self, frame: pl.DataFrame) -> Predictions:
        """Predict rows, whose columns may be in any order. Raises DataError as `encode` does."""
        return self.predictions(self.outputs_of(frame))

    def predictions(self, outputs: Tensor) -> Predictions:
        """What `outputs` (N, C) say."""
        classes, targets = self.description.classes, self.description.targets
        match self.description.task:
            case "regression" if len(targets) == 1:
                return Predictions(outputs[:, 0].tolist(), None)
            case "regression":
                return Predictions([_by_name(targets, row) for row in outputs.tolist()], None)
            case "multilabel":
                chosen = (outputs > 0.5).tolist()
                return Predictions([_by_name(targets, row) for row in chosen], outputs)
            case _:
                assert classes is not None
                return Predictions([classes[i] for i in outputs.argmax(dim=1).tolist()], outputs)

    def evaluate(self, frame: pl.DataFrame) -> Evaluation:
        """Score rows that have the targets too; those where one is missing do not count."""
        facts = self.description
        rows, targets = prepare.labelled(frame, facts.targets, facts.task, facts.classes)
        return self.score(self.outputs_of(rows), targets)

    def score(self, outputs: Tensor, targets: Tensor) -> Evaluation:
        """Score outputs (N, C) against targets as `prepare.target_tensor` gives them."""
        facts = self.description
        match facts.task:
            case "regression":
                return evaluate_regression(outputs, targets, names=facts.targets)
            case "multilabel":
                return evaluate_multilabel(outputs, targets, labels=facts.targets)
            case _:
                assert facts.classes is not None
                return evaluate_classification(outputs, targets, classes=facts.classes)

    def _probabilities(self, outputs: Tensor) -> Tensor:
        match self.description.task:
            case "regression":
                return outputs
            case "multilabel":
                return outputs.sigmoid()
            case _:
                return outputs.softmax(dim=1)

    def _prove_batch_invariance(self) -> None:
        """Each of a tile's rows must have the same bits in every place and in any company."""
        rows = self._example_rows()
        together = self.outputs(rows)
        for shift in range(1, TILE_ROWS):
            rolled = self.outputs(rows.roll(shift, dims=0))
            alone = self.outputs(rows[shift : shift + 1])
            if not _same_bits(rolled.roll(-shift, dims=0), together) or not _same_bits(
                alone[0], together[shift]
            ):
                raise ModelError(
                    "a row's result depends on the rows around it on this machine "
                    f"({self.fingerprint}); the model is not served"
                )

    def _example_rows(self) -> Tensor:
        """A tile of rows such as the model was trained on."""
        stream = torch.Generator().manual_seed(0)
        preprocessing, encoder = self._model.preprocessing, self.description.encoder
        noise = torch.randn(
            TILE_ROWS, preprocessing.num_values, generator=stream, dtype=torch.float64
        )
        codes = [
            torch.randint(cardinality, (TILE_ROWS, 1), generator=stream).double()
            for cardinality in encoder.cardinalities
        ]
        return torch.cat([preprocessing.scale.unscale(noise.to(self.device)).cpu(), *codes], dim=1)


def _same_bits(first: Tensor, second: Tensor) -> bool:
    """Whether they are the same, NaN too."""
    return torch.equal(first.contiguous().view(torch.int64), second.contiguous().view(torch.int64))


def _by_name(names: Sequence[str], row: list[Any]) -> dict[str, Any]:
    return dict(zip(names, row, strict=True))


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
