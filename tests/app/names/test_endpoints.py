"""Names, their versions, and aliases that move from one to another."""

import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

from store import models
from store.database.tables import metadata
from tests.support.in_process import TestClient
from tests.support.named_models import PRODUCTION, ROWS, new_version, unload
from tests.support.problems import assert_problem


def files_of(client: TestClient, model: models.Model) -> Path:
    root: Path = client.app.state.context.settings.artifact_root  # type: ignore[attr-defined]
    return root / model.artifact


def everything(client: TestClient) -> list[Any]:
    with client.app.state.context.database.read() as transaction:  # type: ignore[attr-defined]
        tables = metadata.sorted_tables
        return [row for table in tables for row in transaction.execute(table.select())]


def test_a_name_tells_its_versions_and_aliases(client: TestClient) -> None:
    first, second = new_version(client), new_version(client)
    unload(client, first.id)
    client.put(PRODUCTION, json={"version": 2})
    answer = client.get("/v1/names/flowers").json()
    made_at = [client.get(f"/v1/models/{m.id}").json()["created_at"] for m in (first, second)]
    assert answer == {
        "name": "flowers",
        "versions": [
            {"version": 2, "model": second.id, "served": True, "created_at": made_at[1]},
            {"version": 1, "model": first.id, "served": False, "created_at": made_at[0]},
        ],
        "aliases": {"production": 2},
    }
    assert_problem(client.get("/v1/names/trees"), 404, "name_not_found")


def test_names_are_listed_in_pages(client: TestClient) -> None:
    for name in ("trees", "flowers", "flowers", "birds"):
        new_version(client, name)
    client.put(PRODUCTION, json={"version": 1})
    first = client.get("/v1/names", params={"limit": 2}).json()
    assert first == {
        "data": [
            {"name": "birds", "latest_version": 1, "aliases": {}},
            {"name": "flowers", "latest_version": 2, "aliases": {"production": 1}},
        ],
        "has_more": True,
        "last_id": "flowers",
    }
    rest = client.get("/v1/names", params={"after": "flowers"}).json()
    assert ([item["name"] for item in rest["data"]], rest["has_more"]) == (["trees"], False)


def test_an_alias_is_moved_from_one_request_to_the_next(client: TestClient) -> None:
    made = [new_version(client) for _ in range(3)]
    assert client.get("/v1/models/flowers").json()["id"] == made[2].id
    for version in (1, 2, 1):
        answer = client.put(PRODUCTION, json={"version": version})
        assert answer.status_code == 200, answer.text
        assert answer.json() == client.get("/v1/names/flowers").json()
        assert answer.json()["aliases"] == {"production": version}
        for reference in ("flowers", "flowers@production"):
            model = client.get(f"/v1/models/{reference}").json()
            assert model["id"] == made[version - 1].id
            assert (model["version"], model["aliases"]) == (version, ["production"])
    listed = client.get("/v1/models").json()["data"]
    aliases = {model["id"]: model["aliases"] for model in listed}
    assert aliases == {made[0].id: ["production"], made[1].id: [], made[2].id: []}


def test_an_alias_that_is_deleted_stands_for_nothing(client: TestClient) -> None:
    first, second = new_version(client), new_version(client)
    client.put(PRODUCTION, json={"version": 1})
    assert client.get("/v1/models/flowers").json()["id"] == first.id
    response = client.delete(PRODUCTION)
    assert (response.status_code, response.content) == (204, b"")
    assert client.get("/v1/models/flowers").json()["id"] == second.id
    assert_problem(client.get("/v1/models/flowers@production"), 404, "model_not_found")
    assert "flowers@production" in assert_problem(client.delete(PRODUCTION), 404, "alias_not_found")


def test_a_model_is_not_deleted_while_an_alias_stands_for_it(client: TestClient) -> None:
    model = new_version(client)
    client.put(PRODUCTION, json={"version": 1})
    path = f"/v1/models/{model.id}"
    assert "flowers@production" in assert_problem(client.delete(path), 409, "model_aliased")
    assert client.post(f"{path}/predict", json=ROWS).status_code == 200
    client.delete(PRODUCTION)
    assert client.delete(path).status_code == 204
    assert not files_of(client, model).exists()
    assert_problem(client.get("/v1/models/flowers@1"), 404, "model_not_found")
    assert_problem(client.put(PRODUCTION, json={"version": 1}), 404, "model_not_found")


def test_a_model_is_deleted_by_its_id_alone(sqlite_client: TestClient) -> None:
    new_version(sqlite_client)
    for reference in ("flowers", "flowers@1"):
        assert sqlite_client.get(f"/v1/models/{reference}").status_code == 200
        answer = sqlite_client.delete(f"/v1/models/{reference}")
        assert reference in assert_problem(answer, 404, "model_not_found")


def test_the_model_that_an_alias_comes_to_stand_for_is_loaded(sqlite_client: TestClient) -> None:
    model = new_version(sqlite_client)
    assert sqlite_client.put(PRODUCTION, json={"version": 1}).status_code == 200
    shutil.rmtree(files_of(sqlite_client, model))
    answer = sqlite_client.post(f"/v1/models/{model.id}/predict", json=ROWS)
    assert answer.status_code == 200


def test_no_alias_stands_for_what_cannot_be_served(sqlite_client: TestClient) -> None:
    _, unloaded, gone, damaged = (new_version(sqlite_client) for _ in range(4))
    sqlite_client.put(PRODUCTION, json={"version": 1})
    unload(sqlite_client, unloaded.id)
    shutil.rmtree(files_of(sqlite_client, gone))
    (files_of(sqlite_client, damaged) / "model.safetensors").write_bytes(b"letters")
    before = everything(sqlite_client)
    for version, status, code in [
        (2, 409, "model_unloaded"),
        (3, 404, "model_not_found"),
        (4, 500, "model_error"),
        (5, 404, "model_not_found"),
    ]:
        answer = sqlite_client.put(PRODUCTION, json={"version": version})
        assert_problem(answer, status, code)
    answer = sqlite_client.put("/v1/names/trees/aliases/production", json={"version": 1})
    assert "trees@1" in assert_problem(answer, 404, "model_not_found")
    assert everything(sqlite_client) == before


def test_what_could_be_taken_for_something_else_is_no_alias(sqlite_client: TestClient) -> None:
    new_version(sqlite_client)
    before = everything(sqlite_client)
    for alias in ("3", "12", "Production", "-a", "_a", "a b", "a@b", "é", "a\n", "a" * 65):
        path = f"/v1/names/flowers/aliases/{quote(alias)}"
        answer = sqlite_client.put(path, json={"version": 1})
        assert_problem(answer, 422, "invalid_request", "alias")
        assert_problem(sqlite_client.delete(path), 404, "alias_not_found")
    assert everything(sqlite_client) == before


def test_any_other_word_is_an_alias(sqlite_client: TestClient) -> None:
    model = new_version(sqlite_client)
    for alias in ("a", "v2", "blue-green", "q1_2026.b", "a" * 64):
        path = f"/v1/names/flowers/aliases/{alias}"
        assert sqlite_client.put(path, json={"version": 1}).json()["aliases"][alias] == 1
        assert sqlite_client.get(f"/v1/models/flowers@{alias}").json()["id"] == model.id


WRONG_BODIES: list[tuple[Any, str]] = [
    ({}, "/version"),
    *(({"version": wrong}, "/version") for wrong in (0, -1, 10**9, "1", 1.0, True, None)),
    ({"version": 1, "model": "mdl_1"}, "/model"),
    ([], ""),
]


def test_a_version_is_a_number_that_counts(sqlite_client: TestClient) -> None:
    new_version(sqlite_client)
    before = everything(sqlite_client)
    for body, pointer in WRONG_BODIES:
        assert_problem(sqlite_client.put(PRODUCTION, json=body), 422, "invalid_request", pointer)
    assert everything(sqlite_client) == before


def test_a_version_is_given_as_json(sqlite_client: TestClient) -> None:
    new_version(sqlite_client)
    answer = sqlite_client.put(PRODUCTION, data={"version": 1})
    assert_problem(answer, 415, "unsupported_media_type")
    headers = {"Content-Type": "application/json"}
    answer = sqlite_client.put(PRODUCTION, content=b"{", headers=headers)
    assert_problem(answer, 400, "malformed_json")


def test_a_name_is_any_segment_of_a_path(client: TestClient) -> None:
    for name in ("a b", "100 %", "#1?", "naïve 花", "...", "a\\b"):
        model = new_version(client, name)
        path = f"/v1/names/{quote(name, safe='')}"
        assert client.put(f"{path}/aliases/production", json={"version": 1}).status_code == 200
        assert client.get(path).json()["name"] == name
        for reference in (name, f"{name}@1", f"{name}@production"):
            answer = client.get(f"/v1/models/{quote(reference, safe='@')}")
            assert answer.json()["id"] == model.id


def test_a_model_whose_name_is_no_segment_goes_by_its_id(client: TestClient) -> None:
    model = new_version(client, "a/b")
    answer = client.get(f"/v1/models/{model.id}").json()
    assert (answer["name"], answer["version"], answer["aliases"]) == ("a/b", None, [])
    assert client.get("/v1/names").json()["data"] == []
    for path in ("/v1/names/a%2Fb", "/v1/models/a%2Fb"):
        assert_problem(client.get(path), 404)
