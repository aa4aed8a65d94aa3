import base64
import hashlib
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from app.main import create_app
from store.database.engine import Database
from store.settings import Settings
from tests.support.in_process import TestClient
from tests.support.store_examples import new_key

Client = httpx.Client

NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


@pytest.fixture
def admin(sqlite_url: str) -> dict[str, str]:
    """The headers of who may all; there is a key then."""
    with closing(Database(sqlite_url)) as database, database.write() as transaction:
        return {"Authorization": f"Bearer {new_key(transaction)}"}


@pytest.fixture
def failing(sqlite_url: str, tmp_path: Path, admin: dict[str, str]) -> Iterator[Client]:
    """Calls an API whose `/fail` fails as nobody expected, and which has a key."""
    settings = Settings(data_dir=tmp_path / "data", database_url=sqlite_url)
    app = create_app(settings)

    @app.get("/fail")
    def fail() -> None:
        raise ZeroDivisionError

    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def directives(response: httpx.Response) -> dict[str, list[str]]:
    """Of the answer's Content-Security-Policy: the sources of each."""
    policy = response.headers["content-security-policy"]
    return {name: sources for name, *sources in map(str.split, policy.split(";"))}


ANSWERS = [
    ("GET", "/livez", 200),
    ("GET", "/openapi.json", 200),
    ("GET", "/docs", 200),
    ("GET", "/static-offline-docs/swagger-ui.css", 200),
    ("GET", "/", 307),
    ("GET", "/v1/jobs", 401),
    ("GET", "/metrics", 401),
    ("GET", "/nowhere", 401),
    ("DELETE", "/livez", 405),
]
ANSWERS_TO_ADMIN = [("GET", "/nowhere", 404), ("GET", "/fail", 500)]


@pytest.mark.parametrize(
    ("is_admin", "method", "path", "status"),
    [*((False, *case) for case in ANSWERS), *((True, *case) for case in ANSWERS_TO_ADMIN)],
)
def test_every_answer_is_secured_and_named(
    failing: Client, admin: dict[str, str], is_admin: bool, method: str, path: str, status: int
) -> None:
    headers = {"Origin": "https://elsewhere.example", **(admin if is_admin else {})}
    with capture_logs():
        response = failing.request(method, path, headers=headers, follow_redirects=False)
    assert response.status_code == status
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert directives(response)["frame-ancestors"] == ["'none'"]
    assert (response.headers["content-security-policy"] == NOTHING) == (path != "/docs")
    assert re.fullmatch(r"req_[0-9a-z]{26}", response.headers["x-request-id"])
    assert not [name for name in response.headers if name.startswith("access-control-")]


def test_a_page_of_another_origin_is_granted_nothing(failing: Client) -> None:
    asked = {
        "Origin": "https://elsewhere.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    response = failing.options("/v1/jobs", headers=asked)
    assert response.status_code == 401
    assert not [name for name in response.headers if name.startswith("access-control-")]


def test_the_service_does_not_say_what_it_runs_on(live: Client) -> None:
    for path in ("/livez", "/v1/jobs", "/nowhere"):
        assert live.get(path).headers.keys() & {"server", "x-powered-by"} == set()


def test_no_cache_keeps_what_is_about_data(sqlite_client: Client) -> None:
    assert sqlite_client.get("/v1/jobs").headers["cache-control"] == "no-store"
    assert sqlite_client.get("/v1/jobs/job_0").headers["cache-control"] == "no-store"
    assert "cache-control" not in sqlite_client.get("/docs").headers


def test_what_an_answer_says_of_caches_stands(live: Client, flower_job: dict[str, Any]) -> None:
    headers = {"Accept": "text/event-stream"}
    with live.stream("GET", f"/v1/jobs/{flower_job['id']}/events", headers=headers) as stream:
        assert stream.headers.get_list("cache-control") == ["no-cache"]


def test_the_page_of_the_api_may_run_its_own_script_alone(sqlite_client: Client) -> None:
    page = sqlite_client.get("/docs")
    (script,) = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = directives(page)
    assert policy.pop("script-src") == ["'self'", f"'sha256-{digest}'"]
    assert policy.pop("style-src") == ["'self'"]
    assert policy.pop("img-src") == ["'self'", "data:"]
    assert policy.pop("connect-src") == ["'self'"]
    assert {source for sources in policy.values() for source in sources} == {"'none'"}
    assert not re.search(r"<[^>]*\s(style|on\w+)=", page.text)


@pytest.mark.parametrize("given", ["a", "7f3c-1.2_3:4/5+6=7@8", "x" * 128])
def test_a_request_keeps_the_id_it_came_with(sqlite_client: Client, given: str) -> None:
    response = sqlite_client.get("/livez", headers={"X-Request-ID": given})
    assert response.headers.get_list("x-request-id") == [given]


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, 'a"b', "a,b", "é", "\x1b[31m"])
def test_an_id_that_could_do_harm_is_replaced(sqlite_client: Client, given: str) -> None:
    headers = {"X-Request-ID": given.encode()}
    ids = {sqlite_client.get("/livez", headers=headers).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2
    assert all(re.fullmatch(r"req_[0-9a-z]{26}", name) for name in ids)


def test_lines_of_log_carry_the_id_of_their_request(
    failing: Client, admin: dict[str, str], tmp_path: Path
) -> None:
    """Those of the event loop and those of threads, and none of it is left for the next."""
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "data" / "artifacts").write_text("a file where a folder has to be")
    with capture_logs(processors=[merge_contextvars]) as lines:
        failing.get("/fail", headers={"X-Request-ID": "first", **admin})
        failing.get("/readyz", headers={"X-Request-ID": "second"})
    told = [line for line in lines if line["event"] != "request"]
    assert {line["request_id"] for line in lines} == {"first", "second"}
    key_id = admin["Authorization"].split("_")[1]
    assert {line["request_id"]: line.get("key", "") for line in lines} == {
        "first": f"key_{key_id}",
        "second": "",
    }
    assert [(line["event"], line["request_id"]) for line in told] == [
        ("unexpected error", "first"),
        ("the artifact storage cannot be written", "second"),
    ]
