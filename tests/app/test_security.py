from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.main import create_app
from app.security import UnsafeBind, check_bind
from store.settings import Settings
from tests.app.conftest import TestClient
from tests.app.problems import assert_problem

Client = httpx.Client

OPEN = {"/livez", "/readyz"}
KEY = "open-sesame-" * 4
WRONG = [
    "",
    "Bearer",
    "Bearer wrong",
    "Bearer sésame, ouvre-toi",
    f"Basic {KEY}",
    KEY,
    f"Bearer {KEY[:-1]}",
    f"Bearer {KEY}{KEY}",
]


@pytest.fixture
def locked(sqlite_url: str, tmp_path: Path) -> Iterator[Client]:
    """Calls an API that has a key, without one."""
    settings = Settings(data_dir=tmp_path / "data", database_url=sqlite_url, api_key=KEY)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def test_every_path_but_those_of_health_needs_the_key(locked: Client) -> None:
    bodies = {
        "predict": {"instances": [[1.0]]},
        "evaluate": {"dataset": "ds_0"},
        "importance": {},
    }
    paths = locked.get("/openapi.json").json()["paths"]
    for path in paths.keys() - OPEN:
        for method in paths[path]:
            body = bodies.get(path.rpartition("/")[2])
            assert_problem(locked.request(method, path, json=body), 401, "unauthorized")


@pytest.mark.parametrize("path", sorted(OPEN))
def test_health_needs_no_key(locked: Client, path: str) -> None:
    assert locked.get(path).status_code == 200


@pytest.mark.parametrize("header", WRONG)
def test_a_wrong_key_opens_nothing(locked: Client, header: str) -> None:
    headers = {"Authorization": header.encode()}
    response = locked.get("/v1/jobs", headers=headers)
    assert "Bearer" in assert_problem(response, 401, "unauthorized")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_the_key_opens_everything(locked: Client, scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {KEY}"}
    assert locked.get("/v1/jobs", headers=headers).status_code == 200
    response = locked.post("/v1/datasets", files={"file": b"a\n1\n"}, headers=headers)
    assert response.status_code == 201


def test_a_refusal_says_how_to_ask(locked: Client) -> None:
    response = locked.get("/v1/jobs")
    assert response.headers["www-authenticate"] == "Bearer"
    assert KEY not in response.text


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    check_bind(host, Settings(api_key=None))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_other_addresses_need_a_key(host: str) -> None:
    with pytest.raises(UnsafeBind, match="DROPOUT_API_KEY"):
        check_bind(host, Settings(api_key=None))
    check_bind(host, Settings(api_key=KEY))
