"""The benchmark's tables, which `sources` has converted, and their held-out rows."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

HELD_OUT = 0.25
TIMED = "timed"
"""The table whose training rows are 10,000 of 30 numbers: contestants are timed on it."""


@dataclass(frozen=True)
class Table:
    """A table whose `target` is predicted from its other columns.

    `task` is binary, multiclass or regression. Tables with the role `choose` are those that the
    service's default was developed on; those with the role `judge` were looked at once; on one
    with the role `time` the scores do not count.
    """

    name: str
    path: Path
    target: str
    task: str
    role: str
    rows: int
    columns: int
    source: str

    @property
    def is_regression(self) -> bool:
        return self.task == "regression"

    @cached_property
    def frame(self) -> pl.DataFrame:
        return pl.read_parquet(self.path)

    @cached_property
    def classes(self) -> list[str]:
        """Return the sorted classes, which are text; a regression has none."""
        return [] if self.is_regression else sorted(self.frame[self.target].unique())

    def split(self, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the rows to train on and those held out, which depend on the seed alone."""
        order = np.random.default_rng(seed).permutation(len(self.frame))
        num_held_out = round(len(order) * HELD_OUT)
        return self.frame[order[num_held_out:]], self.frame[order[:num_held_out]]


def read_tables(folder: Path, only: Iterable[str] = ()) -> list[Table]:
    """Return the tables of the folder, or those `only`. Raises KeyError for an unknown name."""
    index = json.loads((folder / "tables.json").read_text())
    names = list(only) or [name for name in index if name != TIMED]
    return [Table(name, folder / f"{name}.parquet", **index[name]) for name in names]
