"""The masks of a stack's networks, drawn for many batches at once.

Each network draws from its own generator the bits that it draws when it trains by itself, whatever
the number of batches that are drawn at once.

Shapes: n networks, N batches, B rows of a batch, U units of a layer.
"""

import math
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from dropout_core.nn.masks import LEVELS, bound_of, draw_words_, keep_threshold, words_of

_WORTH_A_THREAD = 1 << 15  # words, about a tenth of a millisecond


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


class Memory:
    """Memory that is used again and again: a large tensor anew would cost as much as filling it."""

    def __init__(self) -> None:
        self._flat: dict[Hashable, Tensor] = {}

    def take(self, name: Hashable, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return a tensor with any numbers in it, which the next call with this name may use."""
        size = math.prod(shape)
        if name not in self._flat or len(self._flat[name]) < size:
            self._flat[name] = torch.empty(size, dtype=dtype)
        return self._flat[name][:size].view(*shape)


class Masks:
    """The masks of all places for `num_batches` batches of `num_rows`.

    `places` has a list for each network, all of the same places. Networks beyond the `generators`
    have no masks but zeros. `at(i)` are the masks of the i-th
    place, with the scale: (N, n, padded B * U), zero for padded rows; None if no network drops.
    """

    def __init__(
        self,
        places: Sequence[tuple[Place, ...]],
        generators: Sequence[Generator],
        *,
        num_batches: int,
        num_rows: int,
        padded_rows: int,
        dtype: torch.dtype,
        memory: Memory,
    ) -> None:
        self._memory = memory
        self._generators = generators
        self._layouts = [_layout(own, num_rows) for own, _ in zip(places, generators, strict=False)]
        self._states = [generator.get_state() for generator in generators]
        groups = groupby(range(len(generators)), key=self._layouts.__getitem__)
        numbers = [[*group] for _, group in groups]
        words = [self._draw(group, num_batches) for group in numbers]
        is_padded = padded_rows > num_rows or len(places) > len(generators)
        self._at: list[Tensor | None] = []
        for index, of_place in enumerate(zip(*places, strict=True)):
            mask = None
            if any(place.drops for place in of_place):
                size = padded_rows * of_place[0].num_units
                shape = (num_batches, len(places), size)
                mask = memory.take(("mask", index), shape, dtype)
                if is_padded:
                    mask.zero_()
                for group, drawn in zip(numbers, words, strict=True):
                    part = mask[:, group[0] : group[-1] + 1, : num_rows * of_place[0].num_units]
                    bits = self._layouts[group[0]][index]
                    _set_mask(part, [of_place[number] for number in group], bits, drawn)
            self._at.append(mask)

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

    def _draw(self, group: list[int], num_batches: int) -> Tensor:
        """Return the words of networks that draw as many, for each batch: (g, N, words)."""
        num_words = _num_words(self._layouts[group[0]])
        shape = (len(group), num_batches, num_words)
        words = self._memory.take(("words", group[0]), shape, torch.int64)
        draws = [(row, self._generators[k]) for row, k in zip(words.unbind(), group, strict=True)]
        if words.numel() < _WORTH_A_THREAD or torch.get_num_threads() == 1:
            _draw_each(draws)
            return words
        # A generator draws one number after the other, so a second thread takes half of them.
        half = len(draws) // 2
        second = _second_thread().submit(_draw_each, draws[half:])
        _draw_each(draws[:half])
        second.result()
        return words


def draws_as(places: Sequence[Place]) -> tuple[int, ...]:
    """Return how many bytes a network draws for an element of each place: 0, 1 or 2."""
    return tuple(0 if bits is None else bits.dtype.itemsize for bits in _layout(tuple(places), 1))


def _draw_each(draws: Sequence[tuple[Tensor, Generator]]) -> None:
    for words, generator in draws:
        draw_words_(words, generator)


@cache
def _second_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="masks")


def _set_mask(part: Tensor, places: Sequence[Place], bits: _Bits | None, words: Tensor) -> None:
    """Set the masks (N, g, B * U) of networks whose bits lie alike in their words."""
    thresholds = [keep_threshold(place.p) for place in places]
    if bits is None:
        part[:] = torch.tensor([[float(threshold == LEVELS)] for threshold in thresholds])
    else:
        drawn = words[:, :, bits.start : bits.stop].view(bits.dtype)[..., : bits.num_elements]
        bounds = [bound_of(threshold)[0] for threshold in thresholds]
        drawn.lt_(torch.tensor(bounds, dtype=bits.dtype)[:, None, None])
        part.copy_(drawn.transpose(0, 1))
    scales = [place.scale for place in places]
    if any(scale != 1.0 for scale in scales):
        part.mul_(torch.tensor(scales, dtype=part.dtype)[:, None])


@lru_cache(maxsize=4096)
def _layout(places: tuple[Place, ...], num_rows: int) -> tuple[_Bits | None, ...]:
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
