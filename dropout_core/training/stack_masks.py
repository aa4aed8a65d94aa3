"""The masks of a stack's networks, drawn for many batches at once.

Each network draws from its own generator the bits that it draws when it trains by itself, whatever
the number of batches that are drawn at once.

Shapes: n networks, N batches, B rows of a batch, U units of a layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from dropout_core.nn.masks import LEVELS, bound_of, draw_words_, keep_threshold, words_of


class Place(NamedTuple):
    """Where a network drops units: how many a row has, how likely, and what the others get."""

    num_units: int
    p: float
    scale: float

    @property
    def drops(self) -> bool:
        return self.p > 0.0


@dataclass(frozen=True)
class _Bits:
    """How the bits of a place lie in the words of a batch: None if nothing is drawn for it."""

    start: int
    stop: int
    dtype: torch.dtype
    num_elements: int


class Masks:
    """The masks of all places for `num_batches` batches of `num_rows`.

    `places` has a list for each network, all of the same places. Networks beyond the `generators`
    have no masks but zeros. `at(i)` are the masks of the i-th
    place, with the scale: (N, n, padded B * U), zero for padded rows; None if no network drops.
    """

    def __init__(
        self,
        places: Sequence[Sequence[Place]],
        generators: Sequence[Generator],
        *,
        num_batches: int,
        num_rows: int,
        padded_rows: int,
        dtype: torch.dtype,
    ) -> None:
        self._generators = generators
        drawing = places[: len(generators)]
        self._layouts = [_layout(of_network, num_rows) for of_network in drawing]
        self._states = [generator.get_state() for generator in generators]
        self._at: list[Tensor | None] = []
        for of_place in zip(*places, strict=True):
            mask = None
            if any(place.drops for place in of_place):
                size = padded_rows * of_place[0].num_units
                mask = torch.zeros(num_batches, len(places), size, dtype=dtype)
            self._at.append(mask)
        numbers = range(len(generators))
        for layout, group in groupby(numbers, key=lambda k: self._layouts[k]):
            self._draw([*group], layout, places, num_batches, num_rows)
        for mask, of_place in zip(self._at, zip(*places, strict=True), strict=True):
            if mask is not None:
                scales = torch.tensor([place.scale for place in of_place], dtype=dtype)
                mask.mul_(scales[:, None])

    def at(self, place: int) -> Tensor | None:
        return self._at[place]

    def rewind(self, num_batches: int) -> None:
        """Leave the generators as they are after so many of the batches."""
        for generator, state, layout in zip(
            self._generators, self._states, self._layouts, strict=True
        ):
            generator.set_state(state)
            num_words = num_batches * _num_words(layout)
            draw_words_(torch.empty(num_words, dtype=torch.int64), generator)

    def _draw(
        self,
        group: list[int],
        layout: tuple[_Bits | None, ...],
        places: Sequence[Sequence[Place]],
        num_batches: int,
        num_rows: int,
    ) -> None:
        """Set the masks of networks that follow each other and draw as many words."""
        first, last = group[0], group[-1] + 1
        num_words = _num_words(layout)
        words = torch.empty(len(group), num_batches, num_words, dtype=torch.int64)
        if num_words:
            for number, row in zip(group, words.unbind(), strict=True):
                draw_words_(row, self._generators[number])
        for index, (mask, bits) in enumerate(zip(self._at, layout, strict=True)):
            if mask is None:
                continue
            of_place = [places[number][index] for number in group]
            if bits is None:
                kept = [[float(keep_threshold(place.p) == LEVELS)] for place in of_place]
                mask[:, first:last, : num_rows * of_place[0].num_units] = torch.tensor(kept)
                continue
            drawn = words[:, :, bits.start : bits.stop].view(bits.dtype)[..., : bits.num_elements]
            bounds = [bound_of(keep_threshold(place.p))[0] for place in of_place]
            drawn.lt_(torch.tensor(bounds, dtype=bits.dtype)[:, None, None])
            mask[:, first:last, : bits.num_elements].copy_(drawn.transpose(0, 1))


def _layout(places: Sequence[Place], num_rows: int) -> tuple[_Bits | None, ...]:
    """Return the bits that a network draws for a batch, place by place."""
    layout: list[_Bits | None] = []
    start = 0
    for place in places:
        threshold = keep_threshold(place.p)
        if threshold in (0, LEVELS):
            layout.append(None)
            continue
        _, dtype = bound_of(threshold)
        num_elements = num_rows * place.num_units
        stop = start + words_of(num_elements, dtype)
        layout.append(_Bits(start, stop, dtype, num_elements))
        start = stop
    return tuple(layout)


def _num_words(layout: Sequence[_Bits | None]) -> int:
    return max((bits.stop for bits in layout if bits is not None), default=0)
