"""What every route of the app demands: a new endpoint without a declaration fails here."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute, Mount, Route

from app.http import docs
from app.http.routes import Demands, FastRoute, FoundRoute, demands, demands_of
from app.main import create_app
from store.access.keys import Scope
from store.settings import Settings
from tests.support import openapi
from tests.support.in_process import TestClient
from tests.support.routes import DOCUMENTED, ROUTES
from tests.support.service import SETTINGS

ROWS_BYTES, FILE_BYTES = 6_000_000, 9_000_000
CONFIG_BYTES, COLUMNS_BYTES = 256 * 1024, 4 * 1024**2

PROBES = {
    *("GET /livez", "GET /readyz", "GET /metrics"),
    *("GET /v2/health/live", "GET /v2/health/ready"),
}

FAST_ROUTES = {
    "POST /v1/models/{model_id}/predict",
    "POST /v2/models/{model}/infer",
    "POST /v2/models/{model}/versions/{version}/infer",
}


@pytest.fixture
def limited(sqlite_url: str, tmp_path: Path) -> Iterator[TestClient]:
    """Calls an API whose classes of bodies have limits that differ."""
    limits = {"max_request_bytes": ROWS_BYTES, "max_upload_bytes": FILE_BYTES}
    settings = Settings(
        data_dir=tmp_path / "data", database_url=sqlite_url, **{**SETTINGS, **limits}
    )
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def endpoints(app: FastAPI) -> Iterator[tuple[str, BaseRoute, Demands | None]]:
    """Method and path of every route, and what it has declared; None if it has not."""
    for route in app.routes:
        if isinstance(route, FoundRoute):
            continue
        assert isinstance(route, Route | Mount), f"{route} hides its routes"
        endpoint = route.endpoint if isinstance(route, Route) else route.app
        declared = demands_of(endpoint) if hasattr(endpoint, "demands") else None
        methods = route.methods if isinstance(route, Route) else {"GET"}
        for method in (methods or set()) - {"HEAD"}:
            yield f"{method} {route.path}", route, declared


def test_every_route_declares_what_it_demands(sqlite_client: TestClient) -> None:
    told = {}
    for name, _, declared in endpoints(sqlite_client.app):  # type: ignore[arg-type]
        assert declared is not None, f"{name} declares nothing: decorate it with @demands(...)"
        scope = "open" if declared.scope is None else declared.scope.value
        assert told.setdefault(name, (scope, declared.body.value)) == (scope, declared.body.value)
        assert declared.is_probe == (name in PROBES)
    assert told == {name: row[:2] for name, row in ROUTES.items()}


def test_every_route_answers_errors_in_its_form(sqlite_client: TestClient) -> None:
    for name, (_, _, media_type) in ROUTES.items():
        path = name.partition(" ")[2]
        answer = sqlite_client.request("BREW", path)
        assert answer.status_code == (404 if path == docs.ASSETS else 405)
        assert answer.headers["content-type"] == media_type, name


def test_every_documented_route_is_in_the_document() -> None:
    paths = openapi.document()["paths"]
    assert {f"{method.upper()} {path}" for path in paths for method in paths[path]} == DOCUMENTED


def test_what_is_called_most_is_found_first(sqlite_client: TestClient) -> None:
    names = [(name, type(route)) for name, route, _ in endpoints(sqlite_client.app)]  # type: ignore[arg-type]
    assert {name for name, kind in names[: len(FAST_ROUTES)] if kind is FastRoute} == FAST_ROUTES


HEADS = [
    *("/livez", "/readyz", "/metrics", "/", "/docs", "/openapi.json", "/v2", "/v2/health/ready"),
    *("/static-offline-docs/favicon.png", "/v1/jobs", "/v1/datasets?limit=0", "/v1/jobs/job_1"),
    *("/v1/models/mdl_1/predict", "/nosuch"),
]


@pytest.mark.parametrize("path", HEADS)
def test_head_is_get_without_a_body(sqlite_client: TestClient, path: str) -> None:
    get = sqlite_client.get(path, follow_redirects=False)
    head = sqlite_client.head(path, follow_redirects=False)
    assert head.status_code == get.status_code
    assert head.content == b""
    if path != "/metrics":  # which have changed with every request
        assert _lasting(head.headers) == _lasting(get.headers)


def _lasting(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "x-request-id"}


def test_a_path_has_no_slash_at_its_end(sqlite_client: TestClient) -> None:
    """A redirect would have to name the service's address, which a proxy may hide from it."""
    for path in ("/v1/jobs/", "/livez/", "/v2/", "/v1/models/m/predict/"):
        answer = sqlite_client.get(path, follow_redirects=False)
        assert answer.status_code == 404, path
        assert "location" not in answer.headers


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("POST /v1/jobs", COLUMNS_BYTES),
        ("POST /v1/models/{model_id}/evaluate", CONFIG_BYTES),
        ("POST /v2/repository/index", CONFIG_BYTES),
        ("POST /v1/models/{model_id}/predict", ROWS_BYTES),
        ("POST /v2/models/{model}/infer", ROWS_BYTES),
        ("POST /v1/datasets", FILE_BYTES + 64 * 1024),
        ("POST /v1/models/{model_id}/predict-file", FILE_BYTES + 64 * 1024),
    ],
)
def test_a_class_of_bodies_has_its_limit(limited: TestClient, name: str, limit: int) -> None:
    method, _, path = name.partition(" ")
    kind = ROUTES[name][1]
    media_type = "multipart/form-data; boundary=b" if kind == "file" else "application/json"
    headers = {"Content-Type": media_type}
    larger = limited.request(method, path, content=b" " * (limit + 1), headers=headers)
    assert larger.status_code == 413
    assert str(limit) in larger.text
    fitting = limited.request(method, path, content=b" " * limit, headers=headers)
    assert fitting.status_code in (400, 404, 422)


def test_a_declaration_stays_with_its_endpoint() -> None:
    @demands(Scope.TRAIN)
    def endpoint() -> None: ...

    assert demands_of(endpoint) == Demands(Scope.TRAIN)
    assert demands_of(len).scope is Scope.ADMIN
