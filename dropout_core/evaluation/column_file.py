"""A table of numbers in a file: written in batches of rows, read a column at a time.

Shapes: N rows, B rows of a batch, K columns.
"""

from io import SEEK_END, BufferedIOBase

import numpy as np
import torch
from torch import Tensor


class ColumnFile:
    """Rows of K numbers in a file, which has to be empty and used by nothing else.

    Raises OSError as the file does. The file is not mapped into memory, so that a full disk is an
    error and not a signal, and columns that were read do not count as memory in use.
    """

    def __init__(self, file: BufferedIOBase) -> None:
        self._file = file
        self._batches: list[tuple[int, int]] = []  # offset in bytes, and number of rows
        self.num_rows = 0

    def append(self, columns: Tensor) -> None:
        """Add a batch of rows: (K, B)."""
        values = columns.double().contiguous().numpy()
        self._batches.append((self._file.seek(0, SEEK_END), values.shape[1]))
        self._file.write(values.data)
        self.num_rows += values.shape[1]

    def column(self, index: int) -> Tensor:
        """Return a copy of one column of all rows: (N) float64."""
        values = np.empty(self.num_rows)
        start = 0
        for offset, num_rows in self._batches:
            rows = values[start : start + num_rows]
            self._file.seek(offset + index * rows.nbytes)
            self._file.readinto(rows.data)
            start += num_rows
        return torch.from_numpy(values)
