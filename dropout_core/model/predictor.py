"""Predictor: a trained model with dropout off, whose result for a row always has the same bits.

The rounding of a matrix product depends on the number of rows, and with narrow outputs even on the
row's index. So every product here has `TILE_ROWS` rows, or another number of TILES that gives the
same bits, and at least `TILE_COLUMNS` outputs, for any request. A row's bits then depend on the row
alone; each model is checked for that on this machine when it is loaded.

Shapes: N rows, T rows of a tile, V values, K codes of categories, C outputs.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dropout_core.data.encoder import Encoder
from dropout_core.errors import DataError, ModelError
from dropout_core.model.conformal import Conformal, LevelError
from dropout_core.model.forward import ForwardPass, as_predicted
from dropout_core.model.saved_model import Description, TabularModel, load_model
from dropout_core.model.uncertainty import SubNetworks, Uncertainty, joined, summarise
from dropout_core.model.widened_layers import widen_narrow_layers

TILE_ROWS = 32
TILES = (8, 16, 32, 64, 128)  # small tiles have less latency, large ones more throughput
BLOCK = 32  # elements that torch computes at once; the rest of a tensor may round differently
MAX_CELLS = 4_000_000  # of the matrix of a part of a frame


@dataclass(frozen=True)
class Predictions:
    """`values` (N) and, except for a regression, `probabilities` (N, C).

    A value is the class or the regression value; with several targets a dict of values by target,
    which are true or false for labels.
    """

    values: list[Any]
    probabilities: Tensor | None


class Predictor:
    """A model for inference on one device. Raises ModelError if it is not batch-invariant there.

    `fingerprint` names the scope of the promise of equal bits: the machine, and the number of
    threads only where it changes a bit.
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
        widen_narrow_layers(self._model)
        self._forward = ForwardPass(self._model, self._model.network)
        self._tiles = self._proven_tiles()
        if self._depends_on_threads():
            self.fingerprint = fingerprint(self.device)

    @classmethod
    def load(cls, folder: Path, *, device: str = "cpu") -> "Predictor":
        """Read a model that `save_model` wrote. Raises ModelError unless its checksum holds.

        On a CPU its weights stay memory-mapped; see `load_model`.
        """
        predictor = cls.__new__(cls)
        predictor._serve(*load_model(folder), device)
        return predictor

    def frame_of(self, instances: Sequence[Any]) -> pl.DataFrame:
        """Convert JSON rows to a frame for `predict`, without targets; see `Encoder.frame_of`."""
        description = self.description
        return description.encoder.frame_of(instances, ignored=description.known_targets)

    def encode(
        self,
        frame: pl.DataFrame,
        *,
        encoder: Encoder | None = None,
        refuse_missing: bool = True,
    ) -> Tensor:
        """Encode the features of each row as numbers: (N, V + K) float64; see `Encoder.encode`.

        `encoder` is the model's own by default, or one `for_text` that is written otherwise. Raises
        DataError naming the row and column of what cannot be read.
        """
        encoder = encoder or self.description.encoder
        return torch.from_numpy(encoder.encode(frame, refuse_missing=refuse_missing))

    @torch.inference_mode()
    def outputs(self, matrix: Tensor) -> Tensor:
        """Return probabilities of the classes, or values in the targets' units, dropout off.

        Quantiles of a target follow each other and ascend.

        Shape: (N, V + K), as `encode` returns it -> (N, C) float64.
        """
        expected = self.description.encoder.num_columns
        if matrix.shape[1] != expected:
            raise ValueError(f"{matrix.shape[1]} columns given, the model takes {expected}")
        return self._outputs(matrix, self._forward)

    @property
    def has_dropout(self) -> bool:
        """Return whether `monte_carlo` has dropout to sample: without any, every deviation is 0."""
        return self._sub_networks.differ

    @torch.inference_mode()
    def monte_carlo(self, matrix: Tensor, *, num_samples: int, seed: int) -> Uncertainty:
        """Predict with dropout on: (N, V + K), as `encode` returns it.

        A row's bits depend on the row, the seed and the number of samples alone. Raises ValueError
        unless there are at least two samples. Gal and Ghahramani 2016, section 4.
        """
        values = self.description.of_values
        samples = (
            self._outputs(matrix, self._sub_network(seed, number))[:, values]
            for number in range(num_samples)
        )
        return summarise(samples, task=self.description.task)

    @property
    def num_members(self) -> int:
        """Return how many members the network averages; 1 means that it is one network."""
        return self.description.model.members

    @torch.inference_mode()
    def member_spread(self, matrix: Tensor) -> Uncertainty:
        """Return how the predictions of the members spread: (N, V + K), as `encode` returns it.

        The samples are the members, each with dropout off, and `mean` is their plain mean. A row's
        bits depend on the row alone. Raises ValueError for a model with one member.
        """
        if self.num_members == 1:
            raise ValueError("the model has one member, whose prediction does not spread")
        task, values = self.description.task, self.description.of_values
        num_values = len(range(self.description.num_outputs)[values])
        none = torch.empty(self.num_members, 0, num_values, dtype=torch.float64)
        of_tiles = [summarise(none, task=task)]
        for rows, tile in self._padded_tiles(matrix):
            predicted = [
                self._as_predicted(outputs)[: rows.stop - rows.start, values].cpu()
                for outputs in self._forward.of_members(tile.to(self.device))
            ]
            of_tiles.append(summarise(predicted, task=task))
        return joined(of_tiles)

    def parts(self, num_rows: int) -> Iterator[slice]:
        """Split rows into slices whose matrices take little memory."""
        size = max(TILE_ROWS, MAX_CELLS // self.description.encoder.num_columns)
        return (slice(start, min(start + size, num_rows)) for start in range(0, num_rows, size))

    def outputs_of(
        self,
        frame: pl.DataFrame,
        *,
        encoder: Encoder | None = None,
        refuse_missing: bool = True,
    ) -> Tensor:
        """Return `outputs` of a frame's rows, computed a part at a time to bound memory.

        The arguments and errors are those of `encode`.
        """
        parts = [torch.empty(0, self.description.num_outputs, dtype=torch.float64)]
        for rows in self.parts(max(1, len(frame))):
            try:
                part = frame[rows]
                matrix = self.encode(part, encoder=encoder, refuse_missing=refuse_missing)
            except DataError as error:
                raise error.shifted(rows.start) from error
            parts.append(self.outputs(matrix))
        return torch.cat(parts)

    def predict(self, frame: pl.DataFrame) -> Predictions:
        """Predict rows; columns may be in any order. Raises DataError as `encode` does."""
        return self.predictions(self.outputs_of(frame))

    def predictions(self, outputs: Tensor) -> Predictions:
        """Convert `outputs` (N, C) to predictions."""
        probabilities = None if self.description.task == "regression" else outputs
        return Predictions(self.values(outputs.numpy()), probabilities)

    def values(self, outputs: NDArray[np.float64]) -> list[Any]:
        """Convert outputs to the `values` of `Predictions`: (N, C) -> N."""
        classes, targets = self.description.classes, self.description.targets
        match self.description.task:
            case "regression":
                return by_target(targets, outputs[:, self.description.of_values].tolist())
            case "multilabel":
                return [_by_name(targets, row) for row in (outputs > 0.5).tolist()]
            case _:
                assert classes is not None
                return [classes[index] for index in outputs.argmax(axis=1).tolist()]

    def conformal(self, level: float) -> Conformal:
        """Return what finds sets or intervals at a level. Raises ValueError and LevelError."""
        if self.description.task == "multilabel":
            raise LevelError("a multilabel model has no conformal sets")
        if self._model.scores is None:
            raise LevelError("the model has no conformal scores: train it with `calibrate`")
        scores = self._model.scores.cpu()
        return Conformal(scores, level=level, quantiles=self.description.quantiles)

    def sets(self, outputs: Tensor, *, level: float) -> list[list[Any]]:
        """Return the classes that each row may have, at a level such as 0.9: (N, C) -> N.

        A set is empty if no class is likely enough. Raises what `conformal` does.
        """
        return self.members(self.conformal(level).contains(outputs))

    def members(self, contained: Tensor) -> list[list[Any]]:
        """Return the classes of each set: (N, C) bool -> N."""
        return [list(compress(self.description.output_names, row)) for row in contained.tolist()]

    def intervals(self, outputs: Tensor, *, level: float) -> Tensor:
        """Return the ends of an interval for each target of a regression: (N, C) -> (N, T, 2).

        Raises what `conformal` does.
        """
        return self.conformal(level).intervals(outputs)

    def _sub_network(self, seed: int, number: int) -> ForwardPass:
        network = self._sub_networks.sample(seed=seed, number=number)
        widen_narrow_layers(network)
        return ForwardPass(self._model, network)

    def _outputs(self, matrix: Tensor, forward: ForwardPass) -> Tensor:
        """Compute the outputs with `forward`, tile by tile."""
        result = torch.empty(matrix.shape[0], self.description.num_outputs, dtype=torch.float64)
        for rows, tile in self._padded_tiles(matrix):
            result[rows] = self._tile_outputs(tile, forward)[: rows.stop - rows.start].cpu()
        return result

    def _padded_tiles(self, matrix: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Cut rows into tiles: yield the rows of each, and the tile, padded if they are fewer."""
        for rows, num_padded in _cut(matrix.shape[0], self._tiles):
            yield rows, F.pad(matrix[rows], (0, 0, 0, num_padded)) if num_padded else matrix[rows]

    def _tile_outputs(self, tile: Tensor, forward: ForwardPass) -> Tensor:
        """(T, V + K) -> (T, C)."""
        return self._as_predicted(forward(tile.to(self.device)))

    def _as_predicted(self, outputs: Tensor) -> Tensor:
        description = self.description
        return as_predicted(outputs, description.task, num_quantiles=description.num_quantiles)

    def _tiled(self, rows: Tensor, size: int) -> Tensor:
        tiles = torch.split(rows, size)
        return torch.cat([self._tile_outputs(tile, self._forward) for tile in tiles])

    @torch.inference_mode()
    def _proven_tiles(self) -> tuple[int, ...]:
        """Return the TILES in which a row's bits depend on that row alone, the smallest first.

        Raises ModelError if `TILE_ROWS` is not among them.
        """
        rows = self._example_rows()
        expected = self._tiled(rows, TILE_ROWS)
        sizes = (size for size in TILES if self._is_whole_blocks(size))
        proven = tuple(size for size in sizes if self._is_invariant(rows, expected, size))
        if TILE_ROWS not in proven:
            raise ModelError(
                "a row's result depends on the rows around it on this machine "
                f"({self.fingerprint}); the model is not served"
            )
        return proven

    def _is_whole_blocks(self, size: int) -> bool:
        """Return whether a tile's activations, label probabilities and averages fill BLOCKs.

        Otherwise the rounding of a row may depend on its index, but so rarely that the example rows
        might not show it.
        """
        description = self.description
        widths = [*description.model.hidden]
        if description.task == "multilabel" or self.num_members > 1:
            widths.append(description.num_outputs)
        inputs = self._model.network.inputs
        if inputs is not None and inputs.numbers is not None:
            widths.append(inputs.numbers.num_numbers * inputs.numbers.num_entries)
        return all(size * width % BLOCK == 0 for width in widths)

    def _is_invariant(self, rows: Tensor, expected: Tensor, size: int) -> bool:
        """Return whether rows have the `expected` bits together, alone and at every index."""
        everywhere = self._tile_outputs(rows[:1].expand(size, -1), self._forward)
        alone = self._tile_outputs(F.pad(rows[-1:], (0, 0, 0, size - 1)), self._forward)
        return (
            _same_bits(self._tiled(rows, size), expected)
            and _same_bits(everywhere, expected[:1].expand(size, -1))
            and _same_bits(alone[0], expected[-1])
        )

    @torch.inference_mode()
    def _depends_on_threads(self) -> bool:
        """Return whether a row has other bits with torch's current threads than with one."""
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
        """Draw rows like those of the training data, as many as the largest tile has."""
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
    """Cut rows into tiles: yield the rows of each and the number of rows to pad it with.

    `sizes` ascend. The largest full tiles come first; only the last, of the smallest size, is
    padded.
    """
    start = 0
    while start < num_rows:
        size = max((size for size in sizes if size <= num_rows - start), default=sizes[0])
        stop = min(start + size, num_rows)
        yield slice(start, stop), start + size - stop
        start = stop


def _same_bits(first: Tensor, second: Tensor) -> bool:
    """Return whether all bits are equal, also those of NaN."""
    return torch.equal(first.contiguous().view(torch.int64), second.contiguous().view(torch.int64))


def by_target(targets: Sequence[str], rows: list[list[Any]]) -> list[Any]:
    """Return each row's value of the single target, or its values of several by name."""
    if len(targets) == 1:
        return [value for (value,) in rows]
    return [_by_name(targets, row) for row in rows]


def _by_name(names: Sequence[str], row: list[Any]) -> dict[str, Any]:
    return dict(zip(names, row, strict=True))


def machine(device: torch.device | str) -> str:
    """Name what rounding depends on except threads, such as `cpu/avx512/torch-2.13.0`."""
    device = torch.device(device)
    if device.type == "cuda":
        chip = torch.cuda.get_device_name(device).replace(" ", "-").lower()
        return f"cuda/{chip}/torch-{torch.__version__}/cuda-{torch.version.cuda}"
    instructions = torch.backends.cpu.get_cpu_capability().lower()
    return f"cpu/{instructions}/torch-{torch.__version__}"


def fingerprint(device: torch.device | str) -> str:
    """Name the scope of training's promise of equal bits: the machine, and a CPU's threads."""
    where = machine(device)
    return f"{where}/threads-{torch.get_num_threads()}" if where.startswith("cpu/") else where
