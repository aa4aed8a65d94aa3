"""A query has the parameters that its call declares, each once: nothing in it is ignored."""

from typing import Any

from app.http.query import MAX_NAME_CHARACTERS, declared
from tests.support import openapi, tables
from tests.support.client import upload
from tests.support.in_process import TestClient
from tests.support.problems import assert_error, assert_problem
from tests.support.routes import DOCUMENTED, UNDOCUMENTED


def routes_of(client: TestClient) -> dict[str, Any]:
    routes = client.app.routes[1:]  # type: ignore[attr-defined]
    return {
        f"{method} {route.path}": route
        for route in reversed(routes)
        for method in getattr(route, "methods", None) or {"GET"}
    }


def test_what_is_declared_is_what_the_document_tells(sqlite_client: TestClient) -> None:
    paths = openapi.document()["paths"]
    for name, route in routes_of(sqlite_client).items():
        method, _, path = name.partition(" ")
        told = paths.get(path, {}).get(method.lower())
        if told is not None:
            parameters = told.get("parameters", [])
            names = sorted(each["name"] for each in parameters if each["in"] == "query")
            assert declared(route) == names, name


def test_no_call_ignores_a_parameter(sqlite_client: TestClient) -> None:
    for route in DOCUMENTED:
        method, _, path = route.partition(" ")
        answer = sqlite_client.request(method, path, params={"dry_run": "true"})
        text = assert_error(answer, 422, "invalid_request")
        assert "dry_run: there is no such query parameter" in text, route


def test_a_page_takes_any_parameter(sqlite_client: TestClient) -> None:
    for route in UNDOCUMENTED - {"GET /static-offline-docs"}:
        path = route.partition(" ")[2]
        answer = sqlite_client.get(path, params={"from": "a-newsletter"}, follow_redirects=False)
        assert answer.status_code in (200, 307), route


def test_a_job_with_another_query_is_not_submitted(sqlite_client: TestClient) -> None:
    dataset = upload(sqlite_client, tables.flowers())["id"]
    job = {"dataset": {"id": dataset, "target": "label"}}
    for query, pointer, text in [
        ("validate=true", "validate", "do you mean validate_only?"),
        ("Validate_Only=true", "Validate_Only", "do you mean validate_only?"),
        ("dry_run", "dry_run", "this call has validate_only"),
        ("validate_only=false&validate_only=true", "validate_only", "may be given once"),
        ("=true", "", "this call has validate_only"),
        (f"{'x' * 1000}=", "x" * MAX_NAME_CHARACTERS, "this call has validate_only"),
        ("validate_only=true&%00=", "\0", "this call has validate_only"),
    ]:
        answer = sqlite_client.post(f"/v1/jobs?{query}", json=job)
        assert text in assert_problem(answer, 422, "invalid_request", pointer)
    assert sqlite_client.get("/v1/jobs").json()["data"] == []


def test_an_answer_names_the_first_flaws(sqlite_client: TestClient) -> None:
    query = "&".join(f"p{number}=" for number in range(1000))
    answer = sqlite_client.get(f"/v1/jobs?limit=1&{query}")
    assert_problem(answer, 422)
    assert [flaw["pointer"] for flaw in answer.json()["errors"]] == [f"p{n}" for n in range(10)]


def test_a_path_or_a_method_that_is_not_there_comes_first(sqlite_client: TestClient) -> None:
    assert_problem(sqlite_client.get("/v1/nothing?x=1"), 404, "not_found")
    assert_problem(sqlite_client.patch("/v1/jobs?x=1"), 405, "method_not_allowed")
