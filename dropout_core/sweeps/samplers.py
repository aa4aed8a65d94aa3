"""Samplers: the values of each new trial, which depend on its number and on earlier results alone.

Every draw has a generator of its own, by the seed of the sweep, the number of the trial, how often
it was drawn, and the pointer. So a trial is the same whoever draws it, and whatever came before.
"""

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import Any

from dropout_core.config import SweepConfig
from dropout_core.config.space import as_json
from dropout_core.sweeps.space import (
    Values,
    combinations,
    count_combinations,
    value_at,
    values_at,
)

MAX_DRAWS = 16
"""A trial that equals an earlier one is drawn so often, then gets the first unused combination."""


def drawn(config: SweepConfig, *, start: int, stop: int, earlier: Sequence[Values]) -> list[Values]:
    """Return the values of the trials from number `start` to `stop`, without results.

    `earlier` are those of all trials before. No two trials are equal as long as there are enough
    combinations.
    """
    if config.sampler == "grid":
        return list(itertools.islice(combinations(config), start, stop))
    points = _sobol_points(config, stop) if config.sampler == "sobol" else None
    used = Used(config, earlier)
    return [
        used.first_new(
            itertools.chain(
                [] if points is None else [_at_point(config, points[number])],
                random_draws(config, number),
            )
        )
        for number in range(start, stop)
    ]


def random_draws(config: SweepConfig, number: int) -> Iterator[Values]:
    """Yield independent draws of a trial, a bounded number of them."""
    for attempt in range(MAX_DRAWS):
        yield values_at(
            config,
            lambda pointer, attempt=attempt: value_at(  # type: ignore[misc]
                config.space[pointer], _uniform(config.seed, number, attempt, pointer)
            ),
        )


class Used:
    """The values that trials have, none of which another trial gets."""

    def __init__(self, config: SweepConfig, earlier: Sequence[Values]) -> None:
        self._config = config
        self._keys = {as_json(values) for values in earlier}

    def first_new(self, proposals: Iterator[Values]) -> Values:
        """Return the first of the proposals that no trial has, or the first unused combination.

        In a space of infinitely many combinations it can be the last proposal, though used.
        """
        proposal: Values = {}
        for proposal in proposals:
            if self._add(proposal):
                return proposal
        if count_combinations(self._config) is not None:
            for proposal in combinations(self._config):
                if self._add(proposal):
                    return proposal
        return proposal

    def _add(self, values: Values) -> bool:
        key = as_json(values)
        is_new = key not in self._keys
        self._keys.add(key)
        return is_new


def seed_of(*path: Any) -> int:
    """Return a seed of 32 bits for one generator."""
    return _generator(*path).getrandbits(32)


def _uniform(*path: Any) -> float:
    return _generator(*path).random()


def _generator(*path: Any) -> random.Random:
    return random.Random(repr(path))  # noqa: S311 - it hashes text with SHA-512


def _sobol_points(config: SweepConfig, count: int) -> list[list[float]]:
    from dropout_core.sweeps.sobol import points

    return points(num_dimensions=len(config.pointers), count=count, seed=seed_of(config.seed))


def _at_point(config: SweepConfig, point: Sequence[float]) -> Values:
    by_pointer = dict(zip(config.pointers, point, strict=True))
    return values_at(config, lambda pointer: value_at(config.space[pointer], by_pointer[pointer]))
