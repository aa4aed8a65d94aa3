"""Numbers out of JSON without an object for each: simdjson writes them straight into an array."""

import threading

import numpy as np
import simdjson
from numpy.typing import NDArray

_LARGE_BYTES = 1024**2

_parsers = threading.local()


def instance_numbers(body: bytes) -> NDArray[np.float64] | None:
    """The rows of `{"instances": [[...], ...]}`, where numbers are all that is in them: (N, F).

    They are the float64 nearest to what is written, as Python's. None for anything else, and for
    what is no JSON: others can say what is wrong with it.
    """
    try:
        document = _parser(len(body)).parse(body)
        if not isinstance(document, simdjson.Object) or len(document) != 1:
            return None
        rows = document["instances"]
        if not isinstance(rows, simdjson.Array):
            return None
        num_rows = len(rows)
        # A nested array would be flattened; outside of the rows there is one bracket.
        if num_rows == 0 or body.count(b"[") != num_rows + 1:
            return None
        numbers = np.frombuffer(rows.as_buffer(of_type="d"))
        num_columns = len(numbers) // num_rows
        for row in rows:
            if not isinstance(row, simdjson.Array) or len(row) != num_columns:
                return None
        return numbers.reshape(num_rows, num_columns)
    except (ValueError, TypeError, KeyError, RuntimeError):  # the last for a huge integer
        return None


def _parser(size_bytes: int) -> simdjson.Parser:
    """That of this thread, which keeps its memory; so what is large gets one of its own."""
    if size_bytes > _LARGE_BYTES:
        return simdjson.Parser()
    if not hasattr(_parsers, "parser"):
        _parsers.parser = simdjson.Parser()
    parser: simdjson.Parser = _parsers.parser
    return parser
