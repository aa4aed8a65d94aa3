import copy
import difflib
import itertools
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.http.walkthrough import WALKTHROUGH
from tests.support import openapi
from tests.support.processes import environment
from tests.support.service import Service

Client = httpx.Client

METHODS = {"get", "post", "put", "delete"}


@pytest.fixture
def document() -> dict[str, Any]:
    return openapi.document()


def resolve(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def everything_in(value: Any) -> Iterator[dict[str, Any]]:
    """Every object within a document."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            yield from everything_in(inner)


def test_the_document_has_not_changed_by_accident() -> None:
    difference = difflib.unified_diff(
        openapi.FILE.read_text(encoding="utf-8").splitlines(),
        openapi.text().splitlines(),
        fromfile="docs/openapi.json",
        tofile="the API",
        lineterm="",
        n=2,
    )
    told = "\n".join(itertools.islice(difference, 60))
    assert not told, f"if this change is intended, run `make openapi` and commit the file:\n{told}"


def test_the_document_is_what_the_api_answers(sqlite_client: Client) -> None:
    text = json.dumps(openapi.document())
    assert sqlite_client.get("/openapi.json").json() == json.loads(text)


def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["title"] == "Dropout Service"
    assert document["info"]["version"]


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = [part for part in everything_in(document) if isinstance(part.get("$ref"), str)]
    assert references
    for reference in references:
        assert resolve(document, reference) is not None


def test_every_path_is_documented(document: dict[str, Any]) -> None:
    ids = set()
    for path, operations in document["paths"].items():
        assert operations.keys() <= METHODS
        for operation in operations.values():
            ids.add(operation["operationId"])
            assert operation["summary"]
            assert operation["description"]
            assert any(status.startswith("2") for status in operation["responses"])
            in_path = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert in_path == set(re.findall(r"{(\w+)}", path))
    assert len(ids) == sum(len(operations) for operations in document["paths"].values())


def test_errors_are_documented_as_they_look(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        of_protocol = f"{path}/".startswith("/v2/")
        expected = "application/json" if of_protocol else "application/problem+json"
        if path == "/readyz":
            continue
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if status >= "4":
                    assert response["content"].keys() == {expected}, path


def examples(document: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Method, path and body of every request in the document."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            media = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if media is not None:
                schema = resolve(document, media["schema"])
                for example in [*media.get("examples", []), *schema.get("examples", [])]:
                    yield method, path, copy.deepcopy(example)
                for example in media["schema"].get("examples", []):
                    yield method, path, copy.deepcopy(example)


def test_every_example_of_a_request_is_accepted(
    live: Client, flowers: dict[str, Any], flower_model: dict[str, Any]
) -> None:
    tried = set()
    alias = f"/v1/names/{flower_model['name']}/aliases/example"
    for method, path, body in examples(openapi.document()):
        text = re.sub(r"ds_[0-9a-z]{26}", flowers["id"], json.dumps(body))
        url = re.sub(r"{model(_id)?}", flower_model["id"], path).replace("{version}", "1")
        url = url.replace("/v1/names/{name}/aliases/{alias}", alias)
        headers = {"Content-Type": "application/json"}
        params = {"validate_only": True} if path in ("/v1/jobs", "/v1/sweeps") else {}
        response = live.request(method, url, params=params, content=text, headers=headers)
        assert response.status_code == 200, response.text
        tried.add(path)
    assert live.delete(alias).status_code == 204
    model = "/v1/models/{model_id}"
    calls = {f"{model}/predict", f"{model}/evaluate", f"{model}/importance"}
    calls |= {"/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer"}
    assert tried == {"/v1/jobs", "/v1/sweeps", *calls, "/v1/names/{name}/aliases/{alias}"}


def test_the_walkthrough_works_as_it_stands(live: Client, service: Service, tmp_path: Path) -> None:
    assert WALKTHROUGH in openapi.document()["info"]["description"]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", WALKTHROUGH],
        cwd=tmp_path,
        env=environment()
        | {"SERVICE": service.address, "no_proxy": "*", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "event: succeeded" in done.stdout
    lines = done.stdout.splitlines()
    predicted = next(line for line in lines if '"predictions"' in line)
    assert len(json.JSONDecoder().raw_decode(predicted)[0]["predictions"]) == 2
    assert any(line.endswith(";prediction") for line in lines)
    importance = json.loads(lines[-1])
    assert importance["features"][0]["feature"] == "area"


def test_the_page_of_the_api_needs_no_other_host(sqlite_client: Client) -> None:
    page = sqlite_client.get("/")
    assert page.url.path == "/docs"
    assert page.headers["content-type"].startswith("text/html")
    assert not re.findall(r"(?:https?:)?//[\w.-]+\.\w+", page.text)
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(assets) == 3
    for asset in assets:
        assert asset.startswith("/")
        assert len(sqlite_client.get(asset).raise_for_status().content) > 100
