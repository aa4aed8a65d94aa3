"""Every error of the engine has its status, code and pointer on the wire."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.http import errors as http_errors
from app.serving import errors
from app.serving.errors import ServingError
from dropout_core.errors import DataError
from store.errors import JobNotFound
from tests.support.problems import assert_problem

INVALID = (422, "invalid_request")
TOLD: list[tuple[ServingError, int, str, str | None]] = [
    (errors.QueueFull(), 503, "busy", None),
    (errors.ModelLoading("mdl_1"), 503, "model_loading", None),
    (errors.TooManyRows(3, limit=2), 413, "too_many_rows", None),
    (errors.AnswerTooLarge(3, num_outputs=2, limit=5), 413, "answer_too_large", None),
    (errors.InvalidInstance("bad"), *INVALID, "/instances"),
    (errors.InvalidInstance("bad", index=0), *INVALID, "/instances/0"),
    (errors.InvalidInstance("bad", index=2, cell=0), *INVALID, "/instances/2/0"),
    (errors.InvalidInstance("bad", index=2, cell="a/b~c"), *INVALID, "/instances/2/a~1b~0c"),
    (errors.UnknownDataset("ds_0"), *INVALID, "/dataset"),
    (errors.DatasetMisfit(DataError("bad", row=2, column="a")), *INVALID, "/dataset"),
    (errors.TooManyScores(3, num_outputs=2), *INVALID, "/dataset"),
    (errors.NoTarget(), *INVALID, "/dataset"),
    (errors.OutputsNotFinite(), *INVALID, "/dataset"),
    (errors.NothingHeldOut(), *INVALID, "/dataset"),
    (errors.HeldOutRowsGone(JobNotFound("job_0")), 409, "held_out_rows_gone", "/dataset"),
    (errors.UnknownMetric("r2", known=["accuracy"]), *INVALID, "/metric"),
    (errors.UndefinedMetric("roc_auc"), *INVALID, "/metric"),
    (errors.TooManyRepeats(100, num_features=9), *INVALID, "/num_repeats"),
]


def leaves(kind: type[ServingError]) -> Iterator[type[ServingError]]:
    for subclass in kind.__subclasses__():
        yield from leaves(subclass)
    if not kind.__subclasses__():
        yield kind


def test_no_error_is_left_out() -> None:
    assert {type(error) for error, *_ in TOLD} == set(leaves(ServingError))


@pytest.mark.parametrize(("error", "status", "code", "pointer"), TOLD, ids=repr)
def test_an_error_is_told_as_a_problem(
    error: ServingError, status: int, code: str, pointer: str | None
) -> None:
    app = FastAPI()
    http_errors.install(app)

    @app.get("/")
    def fail() -> None:
        raise error

    response = TestClient(app, raise_server_exceptions=False).get("/")
    assert assert_problem(response, status, code) == str(error)
    pointers = [flaw["pointer"] for flaw in response.json()["errors"]]
    assert pointers == ([] if pointer is None else [pointer])
    assert ("retry-after" in response.headers) == (status == 503)
