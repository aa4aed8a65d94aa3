import pickle

import pytest

from dropout_core.errors import DataError


@pytest.mark.parametrize(
    ("row", "shown"), [(3, "row 13, column 'a': is no number"), (None, "column 'a': is no number")]
)
def test_an_error_in_a_part_of_a_table_is_told_of_the_whole(row: int | None, shown: str) -> None:
    error = DataError("is no number", row=row, column="a", field="types").shifted(10)
    assert str(error) == shown
    assert (error.message, error.column, error.field) == ("is no number", "a", "types")


def test_an_error_comes_whole_out_of_another_process() -> None:
    error = pickle.loads(pickle.dumps(DataError("is no number", row=3, column="a")))
    assert str(error) == "row 3, column 'a': is no number"
    assert (error.message, error.row, error.column) == ("is no number", 3, "a")
