"""How many networks of a stack are computed at once, so that a network's bits never depend on it.

The rounding of a batched matrix product may depend on how many matrices there are, and on which of
them it is. So the products of a network are, by definition, those of two at once. Computing n at
once is used where it gives these bits at each of the n places, which is tried here for the shapes
at hand, on this machine, with this number of threads.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Generator, Tensor

from dropout_core.config import FusedActivation
from dropout_core.training.stack_layout import Layout
from dropout_core.training.stack_losses import Targets
from dropout_core.training.stack_step import StackStep

_TWO = 2


def sizes_at_once(
    layout: Layout, activation: FusedActivation, *, num_networks: int, rows: Sequence[int]
) -> tuple[int, dict[int, int]]:
    """Return of how many networks a stack is to be, and how many are computed at once.

    It is one more than `num_networks` where one is left over, whose products need a second one.
    The sizes are by the rows of a batch, padded.
    """
    threads = torch.get_num_threads()

    def sizes(n: int) -> dict[int, int]:
        return {r: _size(layout.widths, layout.dtype, activation, n, r, threads) for r in rows}

    found = sizes(num_networks)
    if num_networks % _TWO == 0 or _TWO not in found.values():
        return num_networks, found
    return num_networks + 1, sizes(num_networks + 1)


@lru_cache(maxsize=1024)
def _size(
    widths: tuple[int, ...],
    dtype: torch.dtype,
    activation: FusedActivation,
    num_networks: int,
    num_rows: int,
    num_threads: int,  # noqa: ARG001 - a part of the key of the cache
) -> int:
    """Return `num_networks` if all of them at once have the bits of two; 2; or 1.

    It is 1 where even two at once have other bits if they change places.
    """

    def results(n: int) -> list[Tensor]:
        return _gradients(Layout(widths, dtype), activation, n, num_rows)

    of_two = results(_TWO)
    if not _all_equal(of_two, of_two):
        return 1
    return num_networks if _all_equal(of_two, results(num_networks)) else _TWO


def _all_equal(of_two: list[Tensor], of_all: list[Tensor]) -> bool:
    return all(
        torch.equal(mine, two[0])
        for two, every in zip(of_two, of_all, strict=True)
        for mine in every
    )


def _gradients(
    layout: Layout, activation: FusedActivation, num_networks: int, num_rows: int
) -> list[Tensor]:
    """Return the gradients of equal networks on equal batches, each (n, ...)."""
    stream = Generator().manual_seed(0)

    def repeated(*shape: int, scale: float = 1.0) -> Tensor:
        one = torch.randn(shape, dtype=layout.dtype, generator=stream).mul_(scale)
        return one.expand(num_networks, *shape).contiguous()

    parameters = layout.empty(num_networks)
    for part, values in zip(layout.parts, layout.split(parameters), strict=True):
        values.copy_(repeated(*part.shape, scale=part.shape[-1] ** -0.5))
    masks = [repeated(num_rows, width).gt(0).to(layout.dtype) for width in layout.widths[1:-1]]
    weights, depth = layout.split(layout.empty(num_networks)), layout.num_layers
    step = StackStep(
        layout,
        activation,
        _GivenLoss(),
        parameters,
        of_biases=weights[depth:],
        sizes={num_rows: num_networks},
    )
    step(repeated(num_rows, layout.widths[0]), masks, (repeated(num_rows, layout.widths[-1]),))
    return [*step.of_weights, *weights[depth:]]


class _GivenLoss:
    """A loss whose gradient is the output times a given number."""

    def prepare(self, targets: Tensor, weights: Tensor | None) -> Targets:  # noqa: ARG002
        return (targets,)

    def step(self, outputs: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
        gradients = outputs * targets[0]
        return gradients[:, 0, 0], gradients
