from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from app.http.errors import Flaw, problem
from app.http.inference_errors import InferenceErrors
from tests.support.in_process import TestClient


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()

    def refuse() -> Any:
        flaws = [Flaw(pointer=f"/inputs/{n}", detail="is wrong") for n in range(5)]
        return problem(429, "too_many", "five are wrong", flaws, {"Retry-After": "7"})

    def fail() -> Any:
        return problem(503, "busy", "größer")

    for path in ("/v2/wrong", "/v1/wrong", "/v22"):
        app.get(path)(refuse)
    app.get("/v2")(fail)
    app.get("/v2/good")(lambda: PlainTextResponse("good"))
    return TestClient(InferenceErrors(app))


def test_a_problem_becomes_an_error_with_its_status_and_headers(client: TestClient) -> None:
    answer = client.get("/v2/wrong")
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.content)
    places = "; ".join(f"/inputs/{n}: is wrong" for n in range(3))
    assert answer.json() == {"error": places, "code": "too_many"}
    assert client.get("/v2").json() == {"error": "größer", "code": "busy"}


def test_other_paths_and_other_answers_are_left_as_they_are(client: TestClient) -> None:
    assert client.get("/v2/good").text == "good"
    for path in ("/v1/wrong", "/v22"):
        answer = client.get(path)
        assert answer.headers["content-type"] == "application/problem+json"
        assert len(answer.json()["errors"]) == 5
