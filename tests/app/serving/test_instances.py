"""The rows that simdjson reads are those that Python's own parser reads, and no others."""

import json
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.serving.instances import instance_numbers

FINITE = st.floats(allow_nan=False, allow_infinity=False)
NUMBERS = st.one_of(FINITE, st.integers(-(2**63), 2**64 - 1))
CELLS = st.one_of(NUMBERS, st.none(), st.booleans(), st.text(max_size=2), st.lists(NUMBERS))


@given(rows=st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=9))
def test_numbers_are_the_float64_nearest_to_what_is_written(rows: list[list[float]]) -> None:
    numbers = instance_numbers(json.dumps({"instances": rows}).encode())
    assert numbers is not None
    # Signs of zeros apart, which an encoder does not keep: JSON's -0 is whole to simdjson.
    assert (numbers + 0.0).tobytes() == (np.array(rows, dtype=np.float64) + 0.0).tobytes()


@given(instances=st.lists(st.one_of(st.lists(CELLS, max_size=3), CELLS), max_size=4))
def test_what_is_no_table_of_numbers_is_left_to_others(instances: list[object]) -> None:
    numbers = instance_numbers(json.dumps({"instances": instances}).encode())
    rows = [row for row in instances if isinstance(row, list)]
    is_table = len(rows) == len(instances) > 0 and len({len(row) for row in rows}) == 1
    cells = [cell for row in rows for cell in row]
    if is_table and all(type(cell) in (int, float) for cell in cells):
        assert numbers is not None
        assert numbers.tolist() == [[float(cell) for cell in row] for row in rows]
    else:
        assert numbers is None


@pytest.mark.parametrize(
    "body",
    [
        *("", "{", "5", "[[1]]", '"a"', "null", "{}", '{"instances": null}', '{"instances": 1}'),
        *('{"instances": {"a": [1]}}', '{"instances": [[1]]} x', '{"instances": [[1], 2]}'),
        *('{"instances": [[1]], "missing": "impute"}', '{"instances": [[1]], "instances": [[2]]}'),
        *('{"instances": [[1, [], [2, 3]]]}', '{"instances": [[1, [2]], [3, 4]]}'),
        *('{"instances": [[NaN]]}', '{"instances": [[1e999]]}', '{"instances": [[1.]]}'),
        *('{"instances": [[' + "9" * 400 + "]]}", '{"instances": [[1}]}', '{"instances": [[01]]}'),
        '{"instances": ' + "[" * 5000,
    ],
    ids=range(23),
)
def test_what_cannot_be_numbers_leaves_the_parser_fit_for_the_next(body: str) -> None:
    assert instance_numbers(body.encode()) is None
    numbers = instance_numbers(b'{"instances": [[1, 2.5]]}')
    assert numbers is not None
    assert numbers.tolist() == [[1.0, 2.5]]


@given(body=st.binary(max_size=60))
def test_any_bytes_are_survived(body: bytes) -> None:
    instance_numbers(b'{"instances": [[' + body)
    instance_numbers(b'{"instances": [[1, 2], [' + body + b"]]}")


def test_threads_do_not_share_a_parser() -> None:
    bodies = [json.dumps({"instances": [[number] * 500] * 20}).encode() for number in range(4)]
    seen: dict[int, set[float]] = {}

    def read(number: int) -> None:
        tables = [instance_numbers(bodies[number]) for _ in range(50)]
        seen[number] = {
            float(value) for table in tables if table is not None for value in table.flat
        }

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {number: {float(number)} for number in range(4)}
