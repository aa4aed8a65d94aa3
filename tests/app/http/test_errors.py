import json
import re
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.http.errors import pointer_to
from tests.support.problems import assert_error, assert_problem
from tests.support.routes import DOCUMENTED
from tests.support.service import SETTINGS

Client = httpx.Client

JSON = {"Content-Type": "application/json"}
METHODS = ("get", "post", "put", "patch", "delete")

texts = st.text() | st.sampled_from(["\0", "a/b~c", "é" * 300])
values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | texts
    | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
fast = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


# Every method and path of the API's own document.
OPERATIONS = [(method.lower(), path) for method, path in map(str.split, sorted(DOCUMENTED))]


def assert_no_fault(response: httpx.Response) -> None:
    assert response.status_code < 500, response.text
    if response.is_error:
        assert_error(response, response.status_code)


@fast
@given(body=values)
def test_no_json_at_all_is_a_fault_of_the_service(
    live: Client, flower_model: dict[str, Any], flower_job: dict[str, Any], body: Any
) -> None:
    ids = {"{model_id}": flower_model["id"], "{job_id}": flower_job["id"], "{version}": "1"}
    ids["{model}"] = flower_model["id"]
    for method, path in POSTS:
        for name, value in ids.items():  # others need the model
            path = path.replace(name, "nobody" if path.endswith("/unload") else value)
        response = live.request(method, path, content=json.dumps(body), headers=JSON)
        assert_no_fault(response)


POSTS = [
    ("POST", "/v1/datasets"),
    ("POST", "/v1/jobs"),
    ("POST", "/v1/jobs/{job_id}/cancel"),
    ("POST", "/v1/jobs/{job_id}/pause"),
    ("POST", "/v1/jobs/{job_id}/resume"),
    ("POST", "/v1/sweeps"),
    ("POST", "/v1/sweeps/{sweep_id}/cancel"),
    ("POST", "/v1/sweeps/{sweep_id}/pause"),
    ("POST", "/v1/sweeps/{sweep_id}/resume"),
    ("POST", "/v1/models/{model_id}/predict"),
    ("POST", "/v1/models/{model_id}/predict-file"),
    ("POST", "/v1/models/{model_id}/evaluate"),
    ("POST", "/v1/models/{model_id}/importance"),
    ("POST", "/v2/models/{model}/infer"),
    ("POST", "/v2/models/{model}/versions/{version}/infer"),
    ("POST", "/v2/repository/index"),
    ("POST", "/v2/repository/models/{model}/load"),
    ("POST", "/v2/repository/models/{model}/unload"),
]


def test_every_post_is_tried_with_any_json() -> None:
    assert {path for method, path in OPERATIONS if method == "post"} == {path for _, path in POSTS}


@fast
@given(data=st.data(), value=values)
def test_no_value_within_a_job_is_a_fault_of_the_service(
    live: Client, flower_job: dict[str, Any], data: st.DataObject, value: Any
) -> None:
    job = json.loads(json.dumps(flower_job["resolved_config"]))
    place = job
    while isinstance(place[key := data.draw(st.sampled_from(sorted(place)))], dict) and place[key]:
        if data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = value
    params = {"validate_only": True}
    assert_no_fault(live.post("/v1/jobs", params=params, content=json.dumps(job), headers=JSON))


@fast
@given(rows=st.lists(values, min_size=1, max_size=3))
def test_no_row_is_a_fault_of_the_service(
    live: Client, flower_model: dict[str, Any], rows: list[Any]
) -> None:
    path = f"/v1/models/{flower_model['id']}/predict"
    body = json.dumps({"instances": rows})
    assert_no_fault(live.post(path, content=body, headers=JSON))


@fast
@given(text=st.text(min_size=1).filter(lambda text: not set(text) & set("/?#.")))
def test_no_id_and_no_place_in_a_list_is_a_fault_of_the_service(client: Client, text: str) -> None:
    for kind in ("datasets", "jobs", "models"):
        assert_no_fault(client.get(f"/v1/{kind}/{quote(text, safe='')}"))
        assert_no_fault(client.get(f"/v1/{kind}", params={"after": text}))
    assert_no_fault(client.get("/v1/jobs", params={"state": text, "limit": text}))


def test_an_unknown_id_is_404_on_every_path(client: Client) -> None:
    bodies: dict[str, dict[str, Any]] = {
        "predict": {"json": {"instances": [[1.0]]}},
        "predict-file": {"files": {"file": b"a\n1\n"}},
        "evaluate": {"json": {"dataset": "ds_0"}},
        "importance": {"json": {}},
        "{alias}": {"json": {"version": 1}},
    }
    tried = [(method, path) for method, path in OPERATIONS if "{" in path]
    assert len(tried) >= 10
    for method, path in tried:
        body = bodies.get(path.rpartition("/")[2], {})
        url = path.replace("{alias}", "production").replace("{version}", "1")
        (parameter,) = re.findall(r"{(\w+)}", url)
        answer = client.request(method, url.replace(f"{{{parameter}}}", "nobody_0"), **body)
        code = f"{parameter.removesuffix('_id')}_not_found" if parameter != "name" else None
        assert "nobody_0" in assert_error(answer, 404, code)


def test_an_unknown_path_is_404(sqlite_client: Client) -> None:
    for path in ("/v1", "/v1/nothing", "/v1/jobs/job_0/nothing", "/favicon.ico"):
        assert_problem(sqlite_client.get(path), 404, "not_found")


def test_a_method_that_a_path_has_not_is_405(sqlite_client: Client) -> None:
    paths: dict[str, set[str]] = {}
    for method, path in OPERATIONS:
        paths.setdefault(path, set()).add(method)
    for path, allowed in paths.items():
        for method in set(METHODS) - allowed:
            response = sqlite_client.request(method, path)
            assert_error(response, 405, "method_not_allowed")
            assert set(response.headers["allow"].lower().split(", ")) - {"head"} == allowed


@pytest.mark.parametrize("headers", [{"Host": "[::1"}, {"Origin": "http://["}])
def test_an_address_that_is_none_is_not_of_this_machine(
    sqlite_client: Client, headers: dict[str, str]
) -> None:
    assert_problem(sqlite_client.get("/v1/jobs", headers=headers), 403, "forbidden")


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/models/mdl_0/predict"])
def test_json_has_to_be_declared(sqlite_client: Client, path: str) -> None:
    for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "multipart/form-data"}):
        response = sqlite_client.post(path, content=b"{}", headers=headers)
        assert "application/json" in assert_problem(response, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "body", [b"{", b"{'a': 1}", b"\xff\xfe", b'{"a": "\n"}', b'{"name": "\\ud800"}', b"[1,]"]
)
def test_what_is_not_json_is_400(sqlite_client: Client, body: bytes) -> None:
    response = sqlite_client.post("/v1/jobs", content=body, headers=JSON)
    assert "JSON" in assert_problem(response, 400, "malformed_json")


@pytest.mark.parametrize("body", [b"[" * 20_000, b"9" * 10_000])
def test_json_that_no_parser_takes_is_400(sqlite_client: Client, body: bytes) -> None:
    assert_problem(sqlite_client.post("/v1/jobs", content=body, headers=JSON), 400)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"job"', b"1"])
def test_a_body_has_to_be_an_object(sqlite_client: Client, body: bytes) -> None:
    response = sqlite_client.post("/v1/jobs", content=body, headers=JSON)
    assert_problem(response, 422, "invalid_request", "")


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/models/mdl_0/predict"])
def test_a_body_over_the_limit_is_413(live: Client, path: str, declared: bool) -> None:
    body = b" " * (SETTINGS["max_request_bytes"] + 1)
    content = body if declared else iter([body[:60_000], body[60_000:]])
    response = live.post(path, content=content, headers=JSON)
    assert ("content-length" in response.request.headers) is declared
    assert str(SETTINGS["max_request_bytes"]) in assert_problem(response, 413, "body_too_large")


def test_a_body_at_the_limit_is_read(sqlite_client: Client) -> None:
    body = b"{}".ljust(SETTINGS["max_request_bytes"])
    assert_problem(sqlite_client.post("/v1/jobs", content=body, headers=JSON), 422)


@pytest.mark.parametrize(
    ("path", "parameter", "value"),
    [
        ("/v1/datasets", "limit", "0"),
        ("/v1/jobs", "limit", "101"),
        ("/v1/models", "limit", "many"),
        ("/v1/jobs", "state", "done"),
        ("/v1/jobs/job_0/metrics", "after_epoch", "-1"),
        ("/v1/jobs/job_0/metrics", "after_epoch", "9" * 30),
        ("/v1/jobs/job_0/events", "after", "9" * 30),
        ("/v1/jobs/job_0/events", "after", "job_0"),
    ],
)
def test_a_parameter_out_of_range_is_named(
    sqlite_client: Client, path: str, parameter: str, value: str
) -> None:
    response = sqlite_client.get(path, params={parameter: value})
    assert_problem(response, 422, "invalid_request", parameter)


@pytest.mark.parametrize(
    ("location", "missing", "pointer"),
    [
        ([], False, ""),
        (["a", 1, "b"], False, "/a/1/b"),
        (["a", 1, "b", "tag"], False, "/a/1/b"),
        (["tag", "a"], False, "/a"),
        (["a", 1, "tag", "c"], True, "/a/1/c"),
        (["a", 1, "c"], False, "/a/1"),
        (["a", 2], False, "/a"),
        (["x/y~z"], False, "/x~1y~0z"),
        (["q~/"], True, "/q~0~1"),
        (["text", 0], False, "/text"),
    ],
)
def test_a_pointer_leads_to_what_is_in_the_body(
    location: list[str | int], missing: bool, pointer: str
) -> None:
    body = {"a": [0, {"b": {}}], "x/y~z": 1, "text": "abc"}
    assert pointer_to(location, body, missing=missing) == pointer
