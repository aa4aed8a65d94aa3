"""Nobody sees or does what is another tenant's: to everyone else it does not exist."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, update

from store import jobs, model_names, models, sweeps
from store.database.engine import Database
from store.database.tables import datasets, metadata
from store.ids import new_id
from store.jobs import Claim
from tests.support import openapi
from tests.support.problems import assert_error, assert_problem
from tests.support.store_examples import (
    TRAINED,
    claim,
    epoch,
    new_dataset,
    new_key,
    spec,
)
from tests.support.stored_sweeps import new_sweep

Client = httpx.Client

KINDS = {
    "dataset_id": "ds",
    "job_id": "job",
    "sweep_id": "swp",
    "model_id": "mdl",
    "model": "name",
    "name": "name",
}
"""What may be in a path, and how something unknown of it begins."""

PARAMETER_OF = {
    "datasets": "dataset_id",
    "jobs": "job_id",
    "sweeps": "sweep_id",
    "models": "model_id",
}

WITHIN = {"alias": "production", "version": "1"}
"""What else may be in a path, after a name, and what each tenant's has of it."""

EVERYONES = {"preset"}
"""What else may be in a path, and is the same for every tenant."""

PARAMETERS = {
    *("limit", "after", "offset", "state", "after_epoch", "validate_only", "format"),
    *("name", "created_after", "order", "dataset", "sweep"),
    *("task", "rows", "columns", "optimise_for"),
    *("Idempotency-Key", "Last-Event-ID"),
}
"""What a request may say beside its path and body. `after`, `dataset`, `sweep` and the keys have
tests."""

ID_FIELDS = {
    ("/v1/jobs", "/dataset/id"),
    ("/v1/sweeps", "/job/dataset/id"),
    ("/v1/models/{model_id}/evaluate", "/dataset"),
    ("/v1/models/{model_id}/importance", "/dataset"),
}
"""The fields of bodies that take an id."""

SERVABLE = replace(
    TRAINED,
    metrics={},
    manifest={
        "task": "binary",
        "targets": ["label"],
        "encoder": {"features": []},
        "classes": ["a", "b"],
        "model": {},
        "preprocessing": {},
        "weights_sha256": "0" * 64,
        "trained_on": "cpu",
    },
)

STREAM = {"Accept": "text/event-stream"}
PER_TENANT = {"api_keys", "request_rates"}  # what calls by themselves change


@dataclass
class Tenant:
    """What one has: jobs of every kind, sweeps, a model with an alias, and a token for all."""

    headers: dict[str, str]
    dataset_id: str
    job_ids: list[str]
    sweep_ids: list[str]
    model_id: str
    name: str

    def ids(self, parameter: str) -> list[str]:
        own = {
            "dataset_id": [self.dataset_id],
            "job_id": self.job_ids,
            "sweep_id": self.sweep_ids,
            "model_id": [self.model_id],
        }
        return own[parameter]

    def references(self, parameter: str) -> list[str]:
        """All that finds something of this tenant's in a path."""
        if parameter not in ("model_id", "model", "name"):
            return self.ids(parameter)
        return [self.model_id, self.name, f"{self.name}@1", f"{self.name}@production"]


def new_tenant(transaction: Connection, name: str) -> Tenant:
    dataset = new_dataset(transaction, tenant=name)
    transaction.execute(update(datasets).values(columns=[]))
    asked = spec(dataset.id, name=f"{name}-model")
    queued, running, over = (
        jobs.create(transaction, asked, tenant=name, queue="cpu").id for _ in range(3)
    )
    for job_id in (running, over):
        assert claim(transaction, job_id) is not None
        jobs.record(transaction, Claim(job_id, 1), epoch(1))
    jobs.succeed(transaction, Claim(over, 1), reason="completed", trained=SERVABLE)
    [model_id] = models.of_jobs(transaction, [over]).values()
    version = models.get(transaction, model_id, tenant=name).version or 0
    model_names.set_alias(transaction, f"{name}-model", "production", version=version, tenant=name)
    sweep_ids = [new_sweep(transaction, dataset.id, tenant=name).id for _ in range(2)]
    sweeps.cancel(transaction, sweep_ids[1], tenant=name)
    headers = {"Authorization": f"Bearer {new_key(transaction, tenant=name)}"}
    job_ids = [queued, running, over]
    return Tenant(headers, dataset.id, job_ids, sweep_ids, model_id, f"{name}-model")


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    with closing(Database(sqlite_url)) as database:
        yield database


@pytest.fixture
def owner(database: Database) -> Tenant:
    with database.write() as transaction:
        return new_tenant(transaction, "owner")


@pytest.fixture
def stranger(database: Database) -> Tenant:
    with database.write() as transaction:
        return new_tenant(transaction, "stranger")


def everything(database: Database) -> dict[str, list[Any]]:
    """All rows that there are, but for those that any call may change."""
    with database.read() as transaction:
        return {
            table.name: sorted(map(repr, transaction.execute(table.select())))
            for table in metadata.sorted_tables
            if table.name not in PER_TENANT
        }


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in openapi.document()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def parameters(operation: dict[str, Any], *places: str) -> set[str]:
    return {
        parameter["name"]
        for parameter in operation.get("parameters", [])
        if parameter["in"] in places
    }


def id_fields(schema: Any, definitions: dict[str, Any], pointer: str = "") -> set[str]:
    """Where, in bodies of a schema, text goes under a name that an id may have."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    found = set()
    for part in [part for kind in ("anyOf", "oneOf", "allOf") for part in schema.get(kind, [])]:
        found |= id_fields(part, definitions, pointer)
    name = pointer.rpartition("/")[2]
    if schema.get("type") == "string" and name.removesuffix("_id") in (
        *("id", "dataset", "job", "model", "parent", "base"),
    ):
        found.add(pointer)
    for name, part in schema.get("properties", {}).items():
        found |= id_fields(part, definitions, f"{pointer}/{name}")
    if "items" in schema:
        found |= id_fields(schema["items"], definitions, pointer)
    return found


def url_of(path: str, parameter: str, name: str) -> str:
    for within, value in WITHIN.items():
        path = path.replace(f"{{{within}}}", value)
    return path.replace(f"{{{parameter}}}", name)


def request_for(path: str, stranger: Tenant) -> dict[str, Any]:
    """A body that would do, with nothing in it that is another's."""
    match path.rpartition("/")[2]:
        case "predict":
            return {"json": {"instances": [[1.0]]}}
        case "predict-file":
            return {"files": {"file": b"a\n1\n"}}
        case "evaluate" | "importance":
            return {"json": {"dataset": stranger.dataset_id}}
        case "{alias}":
            return {"json": {"version": 1}}
    return {}


def outcome(answer: httpx.Response, *ids: str) -> tuple[int, str, dict[str, str]]:
    """All of an answer that tells anything, but for the id that was asked for."""
    text = answer.text
    for named in ids:
        text = text.replace(named, "ID")
    not_told = ("x-request-id", "content-length")  # the text has a length
    headers = {name: v for name, v in answer.headers.items() if name not in not_told}
    return answer.status_code, text, headers


def test_the_walk_knows_every_parameter_there_is() -> None:
    for _, path, operation in operations():
        assert parameters(operation, "path") <= KINDS.keys() | WITHIN.keys() | EVERYONES, path
        assert parameters(operation, "query", "header", "cookie") <= PARAMETERS, path
        assert path.count("{") == len(parameters(operation, "path")), path


def test_the_walk_knows_every_field_that_takes_an_id() -> None:
    definitions = openapi.document()["components"]["schemas"]
    found = {
        (path, pointer)
        for _, path, operation in operations()
        for body in operation.get("requestBody", {}).get("content", {}).values()
        for pointer in id_fields(body["schema"], definitions)
        if not path.endswith("/infer")  # the client's own, for the answer
    }
    assert found == ID_FIELDS


def test_what_is_anothers_is_not_found_on_any_route(
    sqlite_client: Client, database: Database, owner: Tenant, stranger: Tenant
) -> None:
    before = everything(database)
    asked: Counter[str] = Counter()
    for method, path, operation in operations():
        for parameter in parameters(operation, "path") - WITHIN.keys() - EVERYONES:
            for theirs in owner.references(parameter):
                unknown = new_id("mdl" if theirs == owner.model_id else KINDS[parameter])
                for accept in ({}, STREAM) if path.endswith("/events") else ({},):
                    request = {
                        "headers": stranger.headers | accept,
                        **request_for(path, stranger),
                    }
                    answers = [
                        sqlite_client.request(method, url_of(path, parameter, name), **request)
                        for name in (theirs, unknown)
                    ]
                    assert_error(answers[0], 404)
                    first, second = (outcome(answer, theirs, unknown) for answer in answers)
                    assert first == second, (method, path)
                    asked["/".join(path.split("/")[:3])] += 1
    # Of datasets 3 routes, of jobs 7 and the stream for each of 3, of sweeps as many for each of 2,
    # of models 8 and of names 3 for each reference.
    assert asked == {
        "/v1/datasets": 3,
        "/v1/jobs": 8 * 3,
        "/v1/sweeps": 8 * 2,
        "/v1/models": 8 * 4,
        "/v1/names": 3 * 4,
        "/v2/models": 10 * 4,
        "/v2/repository": 2 * 4,
    }
    assert everything(database) == before


def test_anothers_id_in_a_body_is_that_of_nothing(
    sqlite_client: Client, database: Database, owner: Tenant, stranger: Tenant
) -> None:
    before = everything(database)
    unknown = new_id("ds")
    mine = stranger.model_id
    for theirs in (owner.dataset_id, owner.model_id, owner.job_ids[0]):
        for path, pointer in [*ID_FIELDS, ("/v1/jobs?validate_only=true", "/dataset/id")]:
            answers = []
            for name in (theirs, unknown):
                of_job = {"dataset": {"id": name, "target": "label"}}
                space = {"/training/seed": {"choice": [1]}}
                body: dict[str, Any] = {
                    "/dataset/id": of_job,
                    "/job/dataset/id": {
                        "job": of_job,
                        "space": space,
                    },
                    "/dataset": {"dataset": name},
                }[pointer]
                url = path.replace("{model_id}", mine)
                answers.append(sqlite_client.post(url, json=body, headers=stranger.headers))
            if path == "/v1/sweeps":
                assert_problem(answers[0], 404, "dataset_not_found", pointer)
            else:
                assert_problem(answers[0], 422, "invalid_request", pointer)
            first, second = (outcome(answer, theirs, unknown) for answer in answers)
            assert (first[:2]) == (second[:2]), path
    assert everything(database) == before


def test_the_owner_finds_it_all(sqlite_client: Client, owner: Tenant) -> None:
    for kind in ("datasets", "jobs", "sweeps", "models"):
        for name in owner.ids(PARAMETER_OF[kind]):
            answer = sqlite_client.get(f"/v1/{kind}/{name}", headers=owner.headers)
            assert (answer.status_code, answer.json()["id"]) == (200, name)


@pytest.mark.parametrize("kind", ["datasets", "jobs", "sweeps", "models"])
def test_a_list_holds_ones_own_and_no_cursor_leads_out_of_it(
    sqlite_client: Client, database: Database, kind: str
) -> None:
    with database.write() as transaction:
        tenants = [new_tenant(transaction, name) for name in ("a", "b", "a")]
    first, others, second = (tenant.ids(PARAMETER_OF[kind]) for tenant in tenants)
    headers = tenants[0].headers

    def listed(**query: Any) -> list[str]:
        answer = sqlite_client.get(f"/v1/{kind}", params=query, headers=headers).json()
        assert not answer["has_more"]
        return [item["id"] for item in answer["data"]]

    assert listed() == sorted(first + second, reverse=True)
    for theirs in others:
        # A cursor says when: what is no row of anybody's leads to the same place.
        nothing = theirs[:-1] + ("0" if theirs[-1] != "0" else "1")
        assert listed(after=theirs) == listed(after=nothing) == sorted(first, reverse=True)
        assert listed(name="nobody's") == []
    if kind == "jobs":
        assert listed(state="running") == [second[1], first[1]]
        for theirs in tenants[1].ids("sweep_id"):
            assert listed(sweep=theirs) == []
    if kind in ("jobs", "sweeps"):
        for theirs in tenants[1].ids("dataset_id"):
            assert listed(dataset=theirs) == []


def test_a_list_of_names_holds_ones_own(
    sqlite_client: Client, owner: Tenant, stranger: Tenant
) -> None:
    for tenant in (owner, stranger):
        listed = sqlite_client.get("/v1/names", headers=tenant.headers).json()["data"]
        assert [item["name"] for item in listed] == [tenant.name]
        answer = sqlite_client.get(f"/v1/names/{tenant.name}", headers=tenant.headers).json()
        assert [version["model"] for version in answer["versions"]] == [tenant.model_id]
        assert answer["aliases"] == {"production": 1}


def test_a_job_names_its_own_model_alone(
    sqlite_client: Client, owner: Tenant, stranger: Tenant
) -> None:
    for tenant in (owner, stranger):
        listed = sqlite_client.get("/v1/jobs", headers=tenant.headers).json()["data"]
        assert {job["model"] for job in listed} == {tenant.model_id, None}


def test_the_idempotency_keys_of_two_tenants_do_not_meet(
    sqlite_client: Client, owner: Tenant, stranger: Tenant
) -> None:
    def upload(tenant: Tenant) -> httpx.Response:
        headers = tenant.headers | {"Idempotency-Key": "1"}
        return sqlite_client.post("/v1/datasets", files={"file": b"a\n1\n"}, headers=headers)

    first, second = upload(owner), upload(stranger)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["id"] != second.json()["id"]
    assert "idempotent-replay" not in second.headers
    for tenant, answer in [(owner, first), (stranger, second)]:
        assert upload(tenant).json() == answer.json()


def test_the_streams_of_two_tenants_do_not_meet(
    sqlite_client: Client, owner: Tenant, stranger: Tenant
) -> None:
    over = owner.job_ids[2]
    path = f"/v1/jobs/{over}/events"
    assert "event: succeeded" in sqlite_client.get(path, headers=owner.headers | STREAM).text
    for last_event_id in ("0", "1", "99"):
        headers = stranger.headers | STREAM | {"Last-Event-ID": last_event_id}
        assert_problem(sqlite_client.get(path, headers=headers), 404, "job_not_found")


def test_every_row_of_a_job_that_runs_stays_its_owners(
    sqlite_client: Client, database: Database, owner: Tenant, stranger: Tenant
) -> None:
    """A model belongs to whose job it is of, whoever runs it."""
    with database.write() as transaction:
        jobs.succeed(transaction, Claim(owner.job_ids[1], 1), reason="completed", trained=SERVABLE)
    for tenant, num_models in [(owner, 2), (stranger, 1)]:
        listed = sqlite_client.get("/v1/models", headers=tenant.headers).json()["data"]
        assert len(listed) == num_models
