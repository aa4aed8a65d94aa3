import tempfile

import pytest
import torch

from dropout_core.evaluation.column_file import ColumnFile
from tests.support.tensors import normal


@pytest.mark.parametrize("sizes", [[9], [4, 0, 1, 4], [1] * 9])
def test_columns_are_those_of_all_rows_in_whatever_batches_they_came(sizes: list[int]) -> None:
    rows = normal(9, 3).double()
    with tempfile.TemporaryFile() as file:
        columns = ColumnFile(file)
        for number, batch in enumerate(rows.split(sizes)):
            columns.append(batch.T)
            assert torch.equal(columns.column(number % 3), rows[: columns.num_rows, number % 3])
        assert columns.num_rows == 9
        assert all(torch.equal(columns.column(index), rows[:, index]) for index in range(3))


def test_no_rows_are_columns_of_no_length() -> None:
    with tempfile.TemporaryFile() as file:
        assert ColumnFile(file).column(0).shape == (0,)
