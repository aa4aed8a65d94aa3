"""Predictor: a trained model with dropout off, whose answer for a row is the same bits every time.

A matrix product rounds differently with the number of rows, and with narrow outputs even with the
row's place among them. So every product here has `TILE_ROWS` rows, or another number of TILES that
gives the same bits, and at least `TILE_COLUMNS` outputs, whatever the request; a row's bits then
depend on the row alone, which each model proves on this machine when it is loaded.

Shapes: N rows, T rows of a tile, V values, K codes of categories, C outputs.
"""

import copy
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dropout_core.data.read_options import MISSING_WORDS
from dropout_core.data.targets import labelled
from dropout_core.errors import DataError, ModelError
from dropout_core.evaluation.evaluator import Evaluation, evaluate
from dropout_core.model.forward import ForwardPass
from dropout_core.model.saved_model import Description, TabularModel, load_model
from dropout_core.model.uncertainty import SubNetworks, Uncertainty, summarise

TILE_ROWS = 32
TILE_COLUMNS = 16
TILES = (8, 16, 32, 64, 128)  # what may be used: few rows take less time, many give more a second
BLOCK = 32  # elements that torch computes at once: what is left of a tensor may round differently
MAX_CELLS = 4_000_000  # of the matrix that a part of a frame becomes


@dataclass(frozen=True)
class Predictions:
    """`values` (N): the class or the regression value, or each target's by name where there are
    several, true or false of a label; `probabilities` (N, C) of classes.
    """

    values: list[Any]
    probabilities: Tensor | None


class Predictor:
    """A model for inference on one device. Raises ModelError if it is not batch-invariant there.

    `fingerprint` names what the promise of equal bits is scoped to: the machine, and the number of
    threads only where that changes a bit.
    """

    def __init__(
        self, model: TabularModel, description: Description, *, device: str = "cpu"
    ) -> None:
        self._serve(copy.deepcopy(model), description, device)

    def _serve(self, model: TabularModel, description: Description, device: str) -> None:
        self.description = description
        self.device = torch.device(device)
        self.fingerprint = machine(self.device)
        self._model = model.to(self.device).eval().requires_grad_(False)
        self._sub_networks = SubNetworks(self._model.network)
        _widen_narrow_layers(self._model)
        self._forward = ForwardPass(self._model, self._model.network)
        self._tiles = self._proven_tiles()
        if self._depends_on_threads():
            self.fingerprint = fingerprint(self.device)

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu") -> "Predictor":
        """Read a model that `save_model` wrote. Raises ModelError unless its checksum holds.

        On a CPU its weights stay in the file, memory-mapped; see `load_model`.
        """
        predictor = cls.__new__(cls)
        predictor._serve(*load_model(folder), device)
        return predictor

    def frame_of(self, instances: Sequence[Any]) -> pl.DataFrame:
        """JSON rows as a frame for `predict`; see `Encoder.frame_of`. Targets are passed over."""
        facts = self.description
        return facts.encoder.frame_of(instances, ignored=facts.targets)

    def encode(
        self,
        frame: pl.DataFrame,
        *,
        refuse_missing: bool = True,
        missing: Collection[str] = MISSING_WORDS,
    ) -> Tensor:
        """The features of each row as numbers: (N, V + K) float64; see `Encoder.encode`.

        Raises DataError naming the row and column of what cannot be read.
        """
        encoder = self.description.encoder
        matrix = encoder.encode(frame, refuse_missing=refuse_missing, missing=missing)
        return torch.from_numpy(matrix)

    @torch.inference_mode()
    def outputs(self, matrix: Tensor) -> Tensor:
        """Probabilities of the classes, or values in the targets' units, dropout off.

        Shape: (N, V + K), as `encode` gives it -> (N, C) float64.
        """
        num_columns = matrix.shape[1]
        expected = self.description.encoder.num_columns
        if num_columns != expected:
            raise ValueError(f"{num_columns} columns given, the model takes {expected}")
        return self._outputs(matrix, self._forward)

    @torch.inference_mode()
    def monte_carlo(self, matrix: Tensor, *, num_samples: int, seed: int) -> Uncertainty:
        """What the model's dropout, left on, says of each row: (N, V + K) as `encode` gives it.

        A row's bits depend on the row, the seed and the number of samples alone. Raises ValueError
        unless there are at least two samples. Gal and Ghahramani 2016, section 4.
        """
        samples = (
            self._outputs(matrix, self._sub_network(seed, number)) for number in range(num_samples)
        )
        return summarise(samples, task=self.description.task)

    def parts(self, num_rows: int) -> Iterator[slice]:
        """Rows in parts whose matrices take little memory."""
        size = max(TILE_ROWS, MAX_CELLS // self.description.encoder.num_columns)
        return (slice(start, min(start + size, num_rows)) for start in range(0, num_rows, size))

    def outputs_of(
        self, frame: pl.DataFrame, *, missing: Collection[str] = MISSING_WORDS
    ) -> Tensor:
        """`outputs` of the rows of a frame, a part at a time: in bounded memory beside them.

        Takes and raises what `encode` does.
        """
        parts = [torch.empty(0, self.description.num_outputs, dtype=torch.float64)]
        for rows in self.parts(max(1, len(frame))):
            try:
                matrix = self.encode(frame[rows], missing=missing)
            except DataError as error:
                raise error.shifted(rows.start) from error
            parts.append(self.outputs(matrix))
        return torch.cat(parts)

    def predict(self, frame: pl.DataFrame) -> Predictions:
        """Predict rows, whose columns may be in any order. Raises DataError as `encode` does."""
        return self.predictions(self.outputs_of(frame))

    def predictions(self, outputs: Tensor) -> Predictions:
        """What `outputs` (N, C) say."""
        probabilities = None if self.description.task == "regression" else outputs
        return Predictions(self.values(outputs.numpy()), probabilities)

    def values(self, outputs: NDArray[np.float64]) -> list[Any]:
        """Of `Predictions`: (N, C) -> N of them."""
        classes, targets = self.description.classes, self.description.targets
        match self.description.task:
            case "regression" if len(targets) == 1:
                return list(outputs[:, 0].tolist())
            case "regression":
                return [_by_name(targets, row) for row in outputs.tolist()]
            case "multilabel":
                return [_by_name(targets, row) for row in (outputs > 0.5).tolist()]
            case _:
                assert classes is not None
                return [classes[index] for index in outputs.argmax(axis=1).tolist()]

    def evaluate(self, frame: pl.DataFrame) -> Evaluation:
        """Score rows that have the targets too; those where one is missing do not count."""
        facts = self.description
        rows, targets = labelled(frame, facts.targets, facts.task, facts.classes)
        return self.score(self.outputs_of(rows), targets)

    def score(self, outputs: Tensor, targets: Tensor) -> Evaluation:
        """Score outputs (N, C) against targets as `targets.target_tensor` gives them."""
        facts = self.description
        names = facts.targets if facts.classes is None else facts.classes
        return evaluate(outputs, targets, task=facts.task, names=names)

    def _sub_network(self, seed: int, number: int) -> ForwardPass:
        network = self._sub_networks.sample(seed=seed, number=number)
        _widen_narrow_layers(network)
        return ForwardPass(self._model, network)

    def _outputs(self, matrix: Tensor, forward: ForwardPass) -> Tensor:
        """`outputs` by that pass, tile by tile."""
        num_rows = matrix.shape[0]
        result = torch.empty(num_rows, self.description.num_outputs, dtype=torch.float64)
        for rows, num_padded in _cut(num_rows, self._tiles):
            tile = F.pad(matrix[rows], (0, 0, 0, num_padded)) if num_padded else matrix[rows]
            result[rows] = self._tile_outputs(tile, forward)[: rows.stop - rows.start].cpu()
        return result

    def _tile_outputs(self, tile: Tensor, forward: ForwardPass) -> Tensor:
        """(T, V + K) -> (T, C)."""
        return self._probabilities(forward(tile.to(self.device)))

    def _probabilities(self, outputs: Tensor) -> Tensor:
        match self.description.task:
            case "regression":
                return outputs
            case "multilabel":
                return outputs.sigmoid()
            case _:
                return outputs.softmax(dim=1)

    @torch.inference_mode()
    def _proven_tiles(self) -> tuple[int, ...]:
        """The TILES in which a row's bits depend on that row alone, the smallest first.

        Raises ModelError if that of `TILE_ROWS` is none.
        """
        rows = self._example_rows()
        tile_outputs = partial(self._tile_outputs, forward=self._forward)
        expected = torch.cat([tile_outputs(tile) for tile in torch.split(rows, TILE_ROWS)])
        sizes = (size for size in TILES if self._is_whole_blocks(size))
        proven = tuple(size for size in sizes if self._is_invariant(rows, expected, size))
        if TILE_ROWS not in proven:
            raise ModelError(
                "a row's result depends on the rows around it on this machine "
                f"({self.fingerprint}); the model is not served"
            )
        return proven

    def _is_whole_blocks(self, size: int) -> bool:
        """Whether the activations of a tile, and its labels' probabilities, leave no rest.

        Where some do, a row rounds by its place; but so rarely that no example might show it.
        """
        facts = self.description
        widths = [*facts.model.hidden, *([facts.num_outputs] if facts.task == "multilabel" else [])]
        return all(size * width % BLOCK == 0 for width in widths)

    def _is_invariant(self, rows: Tensor, expected: Tensor, size: int) -> bool:
        """Whether a row has its `expected` bits in company, alone, and in every place of a tile."""
        tile_outputs = partial(self._tile_outputs, forward=self._forward)
        together = torch.cat([tile_outputs(tile) for tile in torch.split(rows, size)])
        everywhere = tile_outputs(rows[:1].expand(size, -1))
        alone = tile_outputs(F.pad(rows[-1:], (0, 0, 0, size - 1)))
        return (
            _same_bits(together, expected)
            and _same_bits(everywhere, expected[:1].expand(size, -1))
            and _same_bits(alone[0], expected[-1])
        )

    @torch.inference_mode()
    def _depends_on_threads(self) -> bool:
        """Whether the threads that torch uses now give a row other bits than one alone."""
        num_threads = torch.get_num_threads()
        if self.device.type != "cpu" or num_threads == 1:
            return False
        rows = self._example_rows()
        shared = self.outputs(rows)
        torch.set_num_threads(1)
        try:
            return not _same_bits(self.outputs(rows), shared)
        finally:
            torch.set_num_threads(num_threads)

    def _example_rows(self) -> Tensor:
        """Rows such as the model was trained on, as many as the largest tile has."""
        stream = torch.Generator().manual_seed(0)
        preprocessing, encoder = self._model.preprocessing, self.description.encoder
        num_rows = max(TILES)
        noise = torch.randn(
            num_rows, preprocessing.num_values, generator=stream, dtype=torch.float64
        )
        codes = [
            torch.randint(cardinality, (num_rows, 1), generator=stream).double()
            for cardinality in encoder.cardinalities
        ]
        return torch.cat([preprocessing.scale.unscale(noise.to(self.device)).cpu(), *codes], dim=1)


def _cut(num_rows: int, sizes: Sequence[int]) -> Iterator[tuple[slice, int]]:
    """Rows in tiles of `sizes`, the smallest of which comes first: each with what it lacks to one.

    The largest that are full come first, and what is left for the smallest is padded.
    """
    start = 0
    while start < num_rows:
        size = max((size for size in sizes if size <= num_rows - start), default=sizes[0])
        stop = min(start + size, num_rows)
        yield slice(start, stop), start + size - stop
        start = stop


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


def machine(device: torch.device | str) -> str:
    """What decides how this machine rounds, but for threads, such as `cpu/avx512/torch-2.13.0`."""
    device = torch.device(device)
    if device.type == "cuda":
        chip = torch.cuda.get_device_name(device).replace(" ", "-").lower()
        return f"cuda/{chip}/torch-{torch.__version__}/cuda-{torch.version.cuda}"
    instructions = torch.backends.cpu.get_cpu_capability().lower()
    return f"cpu/{instructions}/torch-{torch.__version__}"


def fingerprint(device: torch.device | str) -> str:
    """What training's promise of equal bits is scoped to: the machine, and on a CPU its threads."""
    where = machine(device)
    return f"{where}/threads-{torch.get_num_threads()}" if where.startswith("cpu/") else where
