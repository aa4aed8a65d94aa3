"""The API's own document, taken at its word by schemathesis, by callers who may more or less.

What it tries is made from the document: every operation with values that fit and values that do
not, methods that are not there, and chains of calls in which ids come from earlier answers. Some of
the bodies are tables and jobs that fit the data too, so that something is made and chains start
there: see `tests.fuzz.fitting_requests`. The answers have to be what the document says, and never a
fault of the service.

`make test` tries a part of it, without chains; `make test-fuzz` sets FUZZ, tries so many times as
much, and prints how much that was.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from store.access.keys import DEFAULT_TENANT, Scope
from store.database.engine import Database
from store.settings import Settings
from tests.support import tables
from tests.support.client import events, submit, train, upload
from tests.support.fuzz_figures import FUZZ, SEED, record
from tests.support.processes import environment
from tests.support.service import SETTINGS, Service, embedded
from tests.support.store_examples import new_key

pytestmark = pytest.mark.xdist_group("schemathesis")

ROOT = Path(__file__).parents[2]
HOOKS = {
    "SCHEMATHESIS_HOOKS": str(ROOT / "tests" / "fuzz" / "fitting_requests.py"),
    "PYTHONPATH": str(ROOT),
}
SCHEMATHESIS = str(Path(sys.executable).with_name("schemathesis"))
EXAMPLES = FUZZ
STATEFUL_EXAMPLES = 4 * FUZZ
PHASES = "examples,fuzzing" if FUZZ == 1 else "examples,coverage,fuzzing,stateful"

# What fits a schema may still not fit the data: a job names a column that the dataset has not.
NOT_PROMISED = ["positive_data_acceptance"]
# Three times as many requests; `test_security` asks every operation without a key too.
ONLY_AT_LENGTH = ["ignored_auth"] if FUZZ == 1 else []
# Without keys the document's security is not in force.
OF_KEYS = ["ignored_auth", "missing_required_header", "negative_data_rejection"]

CREATIONS = ["POST /v1/datasets", "POST /v1/jobs", "POST /v1/sweeps"]


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that has keys."""
    with embedded(tmp_path_factory.mktemp("locked"), **SETTINGS) as service:
        service.client.headers["Authorization"] = f"Bearer {key_of(service)}"
        yield service


def key_of(service: Service, *scopes: Scope, tenant: str = DEFAULT_TENANT) -> str:
    settings = Settings(data_dir=service.data_dir)
    with closing(Database(settings.database)) as database, database.write() as transaction:
        return new_key(transaction, *scopes, tenant=tenant)


def seeds(client: httpx.Client) -> dict[str, str]:
    """Ids of a dataset, of a job that has succeeded, of its model with its name, and of a sweep."""
    dataset = upload(client, tables.flowers(), data={"name": "flowers"})
    job = train(
        client,
        dataset["id"],
        "label",
        name="flowers",
        model={"hidden": [4]},
        training={"epochs": 1},
    )
    return {
        "dataset": dataset["id"],
        "job": job["id"],
        "model": job["model"],
        "name": job["name"],
        "sweep": new_sweep(client, dataset["id"]),
    }


def new_sweep(client: httpx.Client, dataset_id: str, *, epochs: int = 1) -> str:
    """The id of a sweep of two small trials."""
    job = {
        "dataset": {"id": dataset_id, "target": "label"},
        "model": {"hidden": [4]},
        "training": {"epochs": epochs},
    }
    space = {"/training/seed": {"choice": [1, 2]}}
    answer = client.post("/v1/sweeps", json={"job": job, "space": space})
    assert answer.status_code == 202, answer.text
    sweep_id: str = answer.json()["id"]
    return sweep_id


def spent(client: httpx.Client, ids: dict[str, str]) -> dict[str, dict[str, str]]:
    """By the operation that ends or makes it: what may be deleted, and a job that still runs."""
    dataset = upload(client, tables.flowers())
    spare = train(client, ids["dataset"], "label", model={"hidden": [4]}, training={"epochs": 1})
    unloaded = train(client, ids["dataset"], "label", model={"hidden": [4]}, training={"epochs": 1})
    over = new_sweep(client, ids["dataset"])
    list(events(client, over, kind="sweeps"))
    long = {"epochs": 3000}  # so that they are paused in time, and end when they are resumed
    jobs = [submit(client, ids["dataset"], "label", training=long)["id"] for _ in range(2)]
    sweeps = [new_sweep(client, ids["dataset"], **long) for _ in range(3)]
    for path in (*(f"jobs/{job_id}" for job_id in jobs), *(f"sweeps/{id_}" for id_ in sweeps)):
        client.post(f"/v1/{path}/pause")
    endless = submit(client, ids["dataset"], "label", training={"epochs": 100_000})
    alias = "/v1/names/{name}/aliases/{alias}"
    client.put(alias.format(name=ids["name"], alias="spare"), json={"version": 1})
    return {
        f"PUT {alias}": {"alias": "spare"},
        f"DELETE {alias}": {"alias": "spare"},
        "DELETE /v1/datasets/{dataset_id}": {"dataset": dataset["id"]},
        "DELETE /v1/models/{model_id}": {"model": spare["model"]},
        "DELETE /v1/jobs/{job_id}": {"job": spare["id"]},
        "POST /v1/jobs/{job_id}/cancel": {"job": endless["id"]},
        "POST /v1/jobs/{job_id}/pause": {"job": jobs[0]},
        "POST /v1/jobs/{job_id}/resume": {"job": jobs[1]},
        "DELETE /v1/sweeps/{sweep_id}": {"sweep": over},
        "POST /v1/sweeps/{sweep_id}/cancel": {"sweep": sweeps[0]},
        "POST /v1/sweeps/{sweep_id}/pause": {"sweep": sweeps[1]},
        "POST /v1/sweeps/{sweep_id}/resume": {"sweep": sweeps[2]},
        "POST /v2/repository/models/{model}/unload": {"model": unloaded["model"]},
    }


@dataclass(frozen=True)
class Answer:
    """Of one request that schemathesis made; `parent` is the operation that its id came from."""

    operation: str
    status: int
    parent: str | None


def run(service: Service, folder: Path, ids: dict[str, str], *, key: str | None) -> list[Answer]:
    """All answers, after a check that schemathesis finds nothing."""
    config, report = folder / "schemathesis.toml", folder / "report.ndjson"
    config.write_text(_config(ids, key=key))
    given = {"FUZZ_IDS": ids | {"version": "1"}, "FUZZ_SPENT_IDS": spent(service.client, ids)}
    variables = {name: json.dumps(value) for name, value in given.items()}
    excluded = NOT_PROMISED + ONLY_AT_LENGTH + (OF_KEYS if key is None else [])
    done = subprocess.run(
        [
            *(SCHEMATHESIS, "--config-file", str(config)),
            *("run", f"{service.address}/openapi.json"),
            *("--phases", PHASES, "--max-examples", str(EXAMPLES)),
            *("--exclude-checks", ",".join(excluded)),
            *("--seed", str(SEED), "--no-shrink", "--continue-on-failure", "--no-color"),
            *("--generation-database", "none", "--warnings", "off"),
            *("--report", "ndjson", "--report-ndjson-path", str(report)),
        ],
        cwd=folder,
        env=environment() | HOOKS | variables | {"no_proxy": "*"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"FUZZ_SEED={SEED}\n{done.stdout}{done.stderr}"
    answers = list(_answers(report))
    statuses = Counter(answer.status for answer in answers)
    record(
        "requests made of the document",
        inputs=statuses.total(),
        server_errors=sum(number for status, number in statuses.items() if status >= 500),
        statuses={str(status): statuses[status] for status in sorted(statuses)},
    )
    assert service.client.get("/livez").status_code == 200
    return answers


def _config(ids: dict[str, str], *, key: str | None) -> str:
    """Real ids where the document has ids, mostly, and the key."""
    bound = {f"path.{name}_id": name for name in ("dataset", "job", "sweep", "model")}
    bound |= {"path.name": "name", "path.model": "model"}
    bound |= {f"body.{name}": "dataset" for name in ("dataset.id", "dataset", "job.dataset.id")}
    lines = ["request-timeout = 60", "max-stream-events = 3", "[dictionaries]"]
    lines += [f"{name} = {{values = [{json.dumps(value)}]}}" for name, value in ids.items()]
    lines += ["[parameters]"]
    lines += [
        f'"{place}" = {{dictionary = "{name}", probability = 0.8}}' for place, name in bound.items()
    ]
    # A body may be too large before it is wrong.
    refused = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 429]
    lines += ["[checks.negative_data_rejection]", f"expected-statuses = {refused}"]
    lines += ["[phases.stateful.generation]", f"max-examples = {STATEFUL_EXAMPLES}"]
    if key is not None:
        lines += ["[auth.openapi.HTTPBearer]", f"bearer = {json.dumps(key)}"]
    return "\n".join(lines)


def _answers(report: Path) -> Iterator[Answer]:
    with report.open() as lines:
        events = [json.loads(line) for line in lines]
    for event in events:
        recorder = event.get("ScenarioFinished", {}).get("recorder", {"cases": {}})
        for id_, case in recorder["cases"].items():
            response = recorder["interactions"][id_]["response"]
            parent = case["transition"]["parent_id"] if case["is_transition_applied"] else None
            yield Answer(
                operation=_operation(case),
                status=response["status_code"],
                parent=parent and _operation(recorder["cases"][parent]),
            )


def _operation(case: dict[str, Any]) -> str:
    return f"{case['value']['method']} {case['value']['path']}"


only_at_length = pytest.mark.skipif(FUZZ == 1, reason="takes a minute: make test-fuzz")


@pytest.mark.timeout(300 * FUZZ)
def test_the_service_keeps_to_its_document(locked: Service, tmp_path: Path) -> None:
    answers = run(locked, tmp_path, seeds(locked.client), key=key_of(locked))
    good = [answer for answer in answers if 200 <= answer.status < 300]
    paths = locked.client.get("/openapi.json").json()["paths"]
    operations = {f"{method.upper()} {path}" for path in paths for method in paths[path]}
    assert {answer.operation for answer in good} == operations
    assert {answer.status for answer in good} == {200, 201, 202, 204}
    if FUZZ > 1:  # a quick run makes no chains of calls
        assert any(answer.parent in CREATIONS for answer in good)


@only_at_length
@pytest.mark.timeout(300 * FUZZ)
@pytest.mark.parametrize("scopes", [[Scope.READ, Scope.PREDICT], [Scope.READ, Scope.TRAIN]])
def test_it_does_so_to_who_may_less(locked: Service, tmp_path: Path, scopes: list[Scope]) -> None:
    run(locked, tmp_path, seeds(locked.client), key=key_of(locked, *scopes))


@only_at_length
@pytest.mark.timeout(300 * FUZZ)
def test_it_does_so_to_another_tenant(locked: Service, tmp_path: Path) -> None:
    ids = seeds(locked.client)
    run(locked, tmp_path, ids, key=key_of(locked, tenant="stranger"))
    for name, value in ids.items():  # however hard it tried
        assert locked.client.get(f"/v1/{name}s/{value}").status_code == 200


@only_at_length
@pytest.mark.timeout(300 * FUZZ)
def test_it_does_so_without_keys(tmp_path: Path) -> None:
    with embedded(tmp_path, **SETTINGS) as service:
        run(service, tmp_path, seeds(service.client), key=None)
