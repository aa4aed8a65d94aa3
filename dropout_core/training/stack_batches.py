"""The batches of a stack's networks: rows, targets and masks, gathered for many batches at once.

Shapes: n networks, N batches, B rows of a batch, F features, I inputs of the first layer.
"""

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor

from dropout_core.nn.inputs import InputLayer
from dropout_core.nn.layers import Dropout
from dropout_core.nn.mlp import HiddenLayer
from dropout_core.seeds import generator
from dropout_core.training.stack_losses import StackLoss, Targets
from dropout_core.training.stack_masks import Masks, Memory, Place
from dropout_core.training.stack_step import padded

if TYPE_CHECKING:
    from dropout_core.training.loop import Training

_BYTES = 1 << 21  # of what is gathered at once, unless one batch has more


class Batch(NamedTuple):
    """What `StackStep` takes: (n, B, I), a mask for each hidden layer, and the targets."""

    x: Tensor
    masks: list[Tensor | None]
    targets: Targets


class Batches:
    """The batches of one epoch, from the first that `trainings` have not trained.

    The trainings have as many rows, and the same batch before them. `num_networks` may be one more:
    the last then stands for one that nobody reads.
    """

    def __init__(
        self,
        trainings: Sequence["Training"],
        loss: StackLoss,
        *,
        num_networks: int,
        memory: Memory,
    ) -> None:
        self._memory = memory
        self._trainings = trainings
        self._loss = loss
        self._members = [*trainings, *[trainings[-1]] * (num_networks - len(trainings))]
        first = trainings[0]
        self._inputs = first.model.inputs
        self._depth = len(first.model.hidden)
        self._size = first.config.batch_size
        self._dtype = first.data.train_features.dtype
        self._num_rows = len(first.data.train_features)
        epochs = [len(training.history) + 1 for training in trainings]
        self._orders = [
            torch.randperm(self._num_rows, generator=generator(training.config.seed, "order", e))
            for training, e in zip(trainings, epochs, strict=True)
        ]
        self._orders += self._orders[-1:] * (num_networks - len(trainings))
        self._changes = any(t.config.dropout_schedule is not None for t in trainings)
        self._places: list[tuple[Place, ...]] | None = None
        self._masks: Masks | None = None
        self._num_drawn = self._num_taken = 0  # of the batches that masks are drawn for

    def take(self, start: int, stop: int) -> Generator[Batch]:
        """Yield the batches from one number up to another.

        Close the iterator to leave the generators of masks as after the last batch that was taken.
        """
        try:
            while start < stop:
                first_row = start * self._size
                rows = min(self._size, self._num_rows - first_row)
                num_full = max(1, (self._num_rows - first_row) // self._size)
                most = 1 if self._changes else max(1, _BYTES // self._bytes_of_batch(rows))
                count = min(stop - start, num_full, most)
                for taken, batch in enumerate(self._gathered(first_row, rows, count), start=1):
                    self._num_taken = taken
                    yield batch
                start += count
        finally:
            if self._masks is not None and self._num_taken < self._num_drawn:
                self._masks.rewind(self._num_taken)

    def _gathered(self, first_row: int, num_rows: int, count: int) -> list[Batch]:
        """Return `count` batches of `num_rows` each."""
        padded_rows = padded(num_rows)
        stop = first_row + count * num_rows
        orders = [order[first_row:stop].view(count, num_rows) for order in self._orders]
        rows = torch.stack(orders, dim=1)  # (N, n, B)
        self._draw_masks(num_rows, count)
        x = self._features(rows, padded_rows)
        weights = None
        if self._trainings[0].data.train_weights is not None:
            weights = self._select("train_weights", rows)
        targets = self._loss.prepare(self._select("train_targets", rows), weights)
        places = [self._mask(place, padded_rows) for place in range(_HIDDEN, _HIDDEN + self._depth)]
        return [
            Batch(
                x[number],
                [None if mask is None else mask[number] for mask in places],
                tuple(target[number] for target in targets),
            )
            for number in range(count)
        ]

    def _draw_masks(self, num_rows: int, count: int) -> None:
        if self._places is None or self._changes:
            self._places = [places_of(training) for training in self._trainings]
        places = self._places
        self._num_taken, self._num_drawn = 0, count
        extra = len(self._members) - len(places)
        self._masks = Masks(
            [*places, *places[-1:] * extra],
            [training.masks for training in self._trainings],
            num_batches=count,
            num_rows=num_rows,
            padded_rows=padded(num_rows),
            dtype=self._dtype,
            memory=self._memory,
        )

    def _mask(self, place: int, padded_rows: int) -> Tensor | None:
        """Return the mask of a place for all batches: (N, n, padded B, U)."""
        assert self._masks is not None
        mask = self._masks.at(place)
        return None if mask is None else mask.view(*mask.shape[:-1], padded_rows, -1)

    def _features(self, rows: Tensor, padded_rows: int) -> Tensor:
        """Return the inputs of the first layer: (N, n, padded B, I)."""
        if (extra := padded_rows - rows.shape[-1]) > 0:
            rows = torch.cat([rows, rows[..., :1].expand(*rows.shape[:-1], extra)], dim=-1)
        x = self._select("train_features", rows)
        if self._inputs is not None:
            x = _encoded(self._inputs, x, self._mask(_CODES, padded_rows))
        mask = self._mask(_INPUT, padded_rows)
        return x if mask is None else x.mul_(mask)

    def _select(self, name: str, rows: Tensor) -> Tensor:
        """Return the rows (N, n, B) of each network's tensor: (N, n, B, ...)."""
        tensors: list[Tensor] = [getattr(training.data, name) for training in self._members]
        first = tensors[0]
        if all(tensor is first for tensor in tensors):
            shape = (rows.numel(), *first.shape[1:])
            chosen = self._memory.take(name, shape, first.dtype)
            torch.index_select(first, 0, rows.flatten(), out=chosen)
            return chosen.view(*rows.shape, *first.shape[1:])
        parts = [
            tensor.index_select(0, of_network.flatten()).view(*of_network.shape, *first.shape[1:])
            for tensor, of_network in zip(tensors, rows.unbind(1), strict=True)
        ]
        return torch.stack(parts, dim=1)

    def _bytes_of_batch(self, num_rows: int) -> int:
        model = self._trainings[0].model
        numbers = model.linears[0].in_features + sum(model.config.hidden)
        return len(self._members) * num_rows * numbers * self._dtype.itemsize


_CODES, _INPUT, _HIDDEN = range(3)  # the first places that a network drops at


def places_of(training: "Training") -> tuple[Place, ...]:
    """Return where a network drops, in the order in which it draws, as it is at this step."""
    model = training.model
    inputs = model.inputs
    num_codes = 0 if inputs is None else len(inputs.cardinalities)
    dropouts = [model.input_dropout, *(cast(HiddenLayer, layer).dropout for layer in model.hidden)]
    units = [model.linears[0].in_features, *model.config.hidden]
    return (
        Place(num_codes, inputs.unknown_rate if inputs is not None and num_codes else 0.0, 1.0),
        *(
            Place(width, dropout.p, dropout.survivor_scale)
            for width, dropout in zip(units, cast(list[Dropout], dropouts), strict=True)
        ),
    )


def _encoded(inputs: InputLayer, x: Tensor, known: Tensor | None) -> Tensor:
    """Turn values and codes into inputs: (N, n, B, F) -> (N, n, B, I); `known` masks the codes."""
    if not inputs.cardinalities:
        return x
    values, codes = x[..., : inputs.num_values], x[..., inputs.num_values :]
    if known is not None:
        codes = codes * known
    encoded = inputs.one_hot(values.flatten(0, 2), codes.flatten(0, 2))
    return encoded.view(*x.shape[:-1], -1)
