"""The texts of errors, as callers read them: code, status and detail of real answers."""

from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.main import create_app
from store.access.keys import Scope
from store.database.engine import Database
from store.settings import Settings
from tests.support import tables
from tests.support.client import submit, upload
from tests.support.in_process import TestClient
from tests.support.problems import assert_error
from tests.support.service import SETTINGS
from tests.support.store_examples import new_key

JSON = {"Content-Type": "application/json"}
LIMIT = SETTINGS["max_request_bytes"]

# Code, status, method and path, options of the request, detail.
TEXTS: list[tuple[str, int, str, dict[str, Any], str]] = [
    (
        "malformed_json",
        400,
        "POST /v1/jobs",
        {"content": b"{", "headers": JSON},
        "the body is not JSON: Expecting property name enclosed in double quotes at character 1",
    ),
    (
        "malformed_json",
        400,
        "POST /v2/repository/index",
        {"content": b"{", "headers": JSON},
        "the body is not JSON: Expecting property name enclosed in double quotes at character 1",
    ),
    (
        "forbidden",
        403,
        "GET /v1/jobs",
        {"headers": {"Host": "evil.example"}},
        "while this service has no keys, only programs on its own machine may call it, by a "
        "loopback address and not from a page of another server: make a key with "
        "`dropout-service keys create`",
    ),
    ("not_found", 404, "GET /v1/nothing", {}, "there is no such path"),
    ("not_found", 404, "GET /v2/nothing", {}, "there is no such path"),
    ("dataset_not_found", 404, "GET /v1/datasets/ds_0", {}, "there is no dataset 'ds_0'"),
    ("job_not_found", 404, "GET /v1/jobs/job_0", {}, "there is no job 'job_0'"),
    ("sweep_not_found", 404, "GET /v1/sweeps/swp_0", {}, "there is no sweep 'swp_0'"),
    (
        "dataset_not_found",
        404,
        "POST /v1/sweeps",
        {
            "json": {
                "job": {"dataset": {"id": "ds_0", "target": "y"}},
                "space": {"/training/seed": {"choice": [1]}},
            }
        },
        "there is no dataset 'ds_0'",
    ),
    (
        "invalid_request",
        422,
        "POST /v1/sweeps",
        {
            "json": {
                "job": {"dataset": {"id": "ds_0", "target": "y"}},
                "space": {"/name": {"choice": ["a"]}},
            }
        },
        "/space/~1name: /name is the same in all trials: a sweep names its trials itself",
    ),
    ("model_not_found", 404, "GET /v1/models/mdl_0", {}, "there is no model 'mdl_0'"),
    ("model_not_found", 404, "GET /v2/models/mdl_0", {}, "there is no model 'mdl_0'"),
    ("name_not_found", 404, "GET /v1/names/nobody", {}, "there is no model with the name 'nobody'"),
    (
        "preset_not_found",
        404,
        "GET /v1/presets/worst",
        {},
        "there is no preset 'worst': there are fast, default, best, plain",
    ),
    (
        "method_not_allowed",
        405,
        "PATCH /v1/jobs",
        {},
        "the path has no such method; it has GET, HEAD, POST",
    ),
    (
        "not_acceptable",
        406,
        "POST /v1/models/mdl_0/predict-file",
        {"files": {"file": b"a\n1\n"}, "headers": {"Accept": "text/html"}},
        "the answer is text/csv or application/vnd.apache.parquet, and neither is accepted",
    ),
    (
        "body_too_large",
        413,
        "POST /v1/jobs",
        {"content": b" " * (LIMIT + 1), "headers": JSON},
        f"the body may have {LIMIT} bytes here; it has more",
    ),
    (
        "unsupported_media_type",
        415,
        "POST /v1/jobs",
        {"content": b"{}"},
        "the body has to be application/json; nothing was declared",
    ),
    ("invalid_request", 422, "POST /v1/jobs", {"json": {}}, "/dataset: Field required"),
    (
        "invalid_request",
        422,
        "GET /v1/jobs?limit=0",
        {},
        "limit: Input should be greater than or equal to 1",
    ),
    (
        "invalid_request",
        422,
        "POST /v1/jobs",
        {"json": {"dataset": {"id": "ds_0", "target": "y"}}},
        "there is no dataset 'ds_0'",
    ),
    (
        "invalid_request",
        422,
        "POST /v1/jobs",
        {"json": {"dataset": {"id": "ds_0", "target": "y"}, "training": {"optimizer": {"lr": 1}}}},
        "/training/optimizer: the object has no 'name', which says what its fields mean",
    ),
    (
        "invalid_request",
        422,
        "POST /v1/datasets",
        {"files": {"file": b"a,b\n1\n"}},
        "row 1: 1 fields where the first row has 2",
    ),
    (
        "invalid_request",
        422,
        "POST /v1/datasets",
        {"files": {"file": b"a\n1\n"}, "data": {"delimeter": ";"}},
        "'delimeter': no such field; there are file, name, delimiter, quote, "
        "encoding, header, missing, default_missing, decimal, thousands, date_format, day_first, "
        "types, skip_rows, comment",
    ),
]


@pytest.mark.parametrize(("code", "status", "request_", "options", "detail"), TEXTS)
def test_a_refusal_says_what_is_wrong(
    sqlite_client: httpx.Client,
    code: str,
    status: int,
    request_: str,
    options: dict[str, Any],
    detail: str,
) -> None:
    method, _, path = request_.partition(" ")
    assert assert_error(sqlite_client.request(method, path, **options), status, code) == detail


def test_a_refusal_for_a_key_says_which_one_is_needed(
    sqlite_client: httpx.Client, sqlite_url: str
) -> None:
    with closing(Database(sqlite_url)) as database, database.write() as transaction:
        token = new_key(transaction, Scope.READ)
    answer = sqlite_client.get("/v1/jobs")
    told = assert_error(answer, 401, "unauthorized")
    assert told == "send a valid API key, as `Authorization: Bearer <key>`"
    headers = {"Authorization": f"Bearer {token}"}
    told = assert_error(sqlite_client.post("/v1/jobs", headers=headers), 403, "forbidden")
    assert told == "the key lacks the scope 'train'; it has read"


def test_a_refusal_for_a_limit_says_which_one(sqlite_url: str, tmp_path: Path) -> None:
    limits = {"tenant_datasets": 1, "tenant_queued_jobs": 1}
    options = {**SETTINGS, **limits, "data_dir": tmp_path, "database_url": sqlite_url}
    with TestClient(create_app(Settings(**options)), raise_server_exceptions=False) as client:
        dataset = upload(client, tables.flowers())
        answer = client.post("/v1/datasets", files={"file": tables.flowers()})
        told = assert_error(answer, 429, "quota_exceeded")
        assert told == "the limit is 1 datasets, and 1 are stored"
        job = submit(client, dataset["id"], "label")
        body = {"dataset": {"id": dataset["id"], "target": "label"}}
        assert (
            assert_error(client.post("/v1/jobs", json=body), 429, "quota_exceeded")
            == "the limit is 1 queued jobs, and 1 are queued"
        )
        answer = client.delete(f"/v1/datasets/{dataset['id']}")
        told = assert_error(answer, 409, "dataset_in_use")
        assert told == f"dataset {dataset['id']!r} is needed by job {job['id']!r}"
        told = assert_error(client.delete(f"/v1/jobs/{job['id']}"), 409, "illegal_transition")
        assert told == f"job {job['id']!r} is queued: it cannot be deleted"


def test_a_refusal_for_too_many_requests_says_how_many_there_may_be(
    sqlite_url: str, tmp_path: Path
) -> None:
    limits = {"tenant_requests_per_second": 1e-3, "tenant_request_burst": 1}
    options = {**SETTINGS, **limits, "data_dir": tmp_path, "database_url": sqlite_url}
    with TestClient(create_app(Settings(**options)), raise_server_exceptions=False) as client:
        client.get("/v1/jobs")
        told = assert_error(client.get("/v1/jobs"), 429, "too_many_requests")
    assert told == "you may make 0.001 requests a second, and 1 at once"


def test_an_answer_without_the_database_says_to_try_again(tmp_path: Path) -> None:
    url = "postgresql://me:correct-horse@127.0.0.1:1/dropout"
    app = create_app(Settings(data_dir=tmp_path, database_url=url))
    client = TestClient(app, raise_server_exceptions=False)
    told = assert_error(client.get("/v1/jobs"), 503, "database_unavailable")
    assert told == "the database does not answer; try again"
