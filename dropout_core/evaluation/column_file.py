"""Numbers in a file: written in batches of rows, read a column at a time.

Shapes: N rows, B rows of a batch, K columns.
"""

from io import SEEK_END, BufferedIOBase

import numpy as np
import torch
from torch import Tensor


class ColumnFile:
    """Rows of K numbers in an empty file, which is nobody else's. Raises OSError as the file does.

    Read and written, and not mapped into memory: a full disk is then an error and not a signal,
    and what was read does not count as memory in use.
    """

    def __init__(self, file: BufferedIOBase) -> None:
        self._file = file
        self._batches: list[tuple[int, int]] = []  # where each begins, and its rows
        self.num_rows = 0

    def append(self, columns: Tensor) -> None:
        """Add a batch of rows: (K, B)."""
        values = columns.double().contiguous().numpy()
        self._batches.append((self._file.seek(0, SEEK_END), values.shape[1]))
        self._file.write(values.data)
        self.num_rows += values.shape[1]

    def column(self, index: int) -> Tensor:
        """One column of all rows: (N) float64, in memory of its own."""
        values = np.empty(self.num_rows)
        start = 0
        for place, num_rows in self._batches:
            rows = values[start : start + num_rows]
            self._file.seek(place + index * rows.nbytes)
            self._file.readinto(rows.data)
            start += num_rows
        return torch.from_numpy(values)
