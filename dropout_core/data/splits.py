"""Which rows are trained on, validated on and held out."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dropout_core.config import SplitConfig
from dropout_core.data.errors import DataError
from dropout_core.seeds import generator


@dataclass(frozen=True)
class Split:
    """Row indices, each int64 and ascending; together every row once."""

    train: Tensor
    validation: Tensor
    test: Tensor


def split_sizes(num_rows: int, config: SplitConfig) -> tuple[int, int, int]:
    """Rows to train on, validate on and test on. Raises DataError if none is left to train on."""
    num_validation = _num_held_out(num_rows, config.validation)
    num_test = _num_held_out(num_rows, config.test)
    num_train = num_rows - num_validation - num_test
    if num_train < 1:
        raise DataError(f"{num_rows} rows are too few for this split", field="split")
    return num_train, num_validation, num_test


def random_split(num_rows: int, config: SplitConfig) -> Split:
    """Hold out random rows. Raises DataError if none is left to train on."""
    sizes = split_sizes(num_rows, config)
    order = torch.randperm(num_rows, generator=generator(config.seed, "split"))
    train, validation, test = torch.split(order, list(sizes))
    return Split(train.sort().values, validation.sort().values, test.sort().values)


def _num_held_out(num_rows: int, fraction: float) -> int:
    """A fraction that is asked for gets at least one row."""
    return max(1, round(num_rows * fraction)) if fraction > 0 else 0
