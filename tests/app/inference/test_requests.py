"""Bodies of predictions that would cost far more to refuse than to answer."""

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError

from app.http.errors import RequestError
from app.inference.requests import read
from app.serving import instances
from app.serving.errors import InvalidInstance, TooManyRows
from app.serving.json_views import plain

NAMES = b",".join(b'"%x":0' % number for number in range(300_000))


def test_a_request_is_read_with_its_rows_left_to_others() -> None:
    request, rows = read(b'{"instances": [[1, "a"], {"x": null}], "mc_dropout": {"seed": 3}}')
    assert plain(rows) == [[1, "a"], {"x": None}]
    assert request.mc_dropout is not None
    assert request.mc_dropout.seed == 3
    assert request.missing == "refuse"


@pytest.mark.parametrize("number", [b"NaN", b"1" * 30])
def test_what_the_fast_parser_cannot_read_is_read_by_another(number: bytes) -> None:
    _, rows = read(b'{"instances": [[%s]]}' % number)
    assert len(plain(rows)[0]) == 1


FLOODS: dict[str, tuple[bytes, type[Exception]]] = {
    "fields": (b'{"instances":[[1]],%s}' % NAMES, RequestError),
    "arrays": (b'{"instances":[%s[]]}' % (b"[]," * 1_000_000), TooManyRows),
    "objects": (b'{"instances":[%s{}]}' % (b"{}," * 1_000_000), TooManyRows),
    "no array": (b'{"instances":{%s}}' % NAMES, RequestError),
    "sampling": (b'{"instances":[[1]],"mc_dropout":{%s}}' % NAMES, RequestError),
    "missing": (b'{"instances":[[1]],"missing":[%s1]}' % (b"1," * 1_000_000), RequestError),
    "list": (b"[%s1]" % (b"1," * 1_000_000), RequestValidationError),
    "NaN": (b'{"instances":[%s[NaN]]}' % (b"[]," * 3_000_000), RequestError),
    "depth": (b'{"instances":' + b"[" * 3_000_000, RequestError),
    "digits": (b'{"instances":[[%s]]}' % (b"9" * 3_000_000), RequestError),
}


@pytest.mark.parametrize(("body", "error"), FLOODS.values(), ids=FLOODS)
def test_no_object_is_made_of_values_that_are_too_many(body: bytes, error: type[Exception]) -> None:
    assert peak_of(lambda: read(body), error) < 2 * len(body) + 3_000_000


class TwoColumns:
    """A predictor as far as rows are concerned that never get to it."""

    class description:  # noqa: N801
        class encoder:  # noqa: N801
            columns = ("a", "b")

    def parts(self, num_rows: int) -> Iterator[slice]:
        yield slice(num_rows)


def test_a_row_may_not_be_far_wider_than_the_table() -> None:
    _, rows = read(b'{"instances":[[1,2],{%s}]}' % NAMES)
    predictor: Any = TwoColumns()
    encode = instances.encode(predictor, rows, refuse_missing=True)
    assert peak_of(lambda: next(encode), InvalidInstance) < 1_000_000


def peak_of(call: Callable[[], object], error: type[Exception]) -> int:
    """Return the bytes that Python's objects take at most until the call fails with the error."""
    tracemalloc.start()
    try:
        with pytest.raises(error):
            call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
