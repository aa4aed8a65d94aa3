"""Databases of every age come to be of today's."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, Table, insert, select, text

from app.main import create_app
from store import jobs, model_names, models
from store.database.engine import Database
from store.database.tables import metadata
from store.ids import new_id
from store.job_spec import JobSpec
from store.settings import Settings
from tests.support.in_process import TestClient
from tests.support.stored_databases import ADDRESS, FOLDER, KINDS, NUM_EPOCHS, load, scripts

STORED = sorted({path.name.partition(".")[0] for path in FOLDER.iterdir()})
TABLES = ("datasets", "jobs", "epochs", "events", "models", "idempotency_keys")


@pytest.fixture(params=STORED)
def revision(request: pytest.FixtureRequest) -> str:
    """The schema that a stored database has."""
    return str(request.param)


@pytest.fixture(params=KINDS)
def old_url(request: pytest.FixtureRequest, revision: str, tmp_path: Path) -> str:
    """The URL of a database as that revision left it, once on each kind."""
    url = (
        f"sqlite:///{tmp_path / 'old.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("empty_postgresql_url")
    )
    load(revision, url)
    return str(url)


@pytest.fixture
def old(old_url: str) -> Iterator[Database]:
    with closing(Database(old_url)) as database:
        yield database


@pytest.fixture
def client(old_url: str, tmp_path: Path) -> Iterator[TestClient]:
    """Calls today's API on the old database."""
    settings = Settings(data_dir=tmp_path / "data", database_url=old_url)
    with TestClient(create_app(settings), base_url=ADDRESS) as client:
        yield client


def test_every_released_schema_has_stored_databases() -> None:
    """If it has not: run `python -m tests.support.stored_databases` at the commit before."""
    [*released, _] = [script.revision for script in reversed(list(scripts().walk_revisions()))]
    names = {f"{revision}.{kind}.sql" for revision in released for kind in KINDS}
    assert names <= {path.name for path in FOLDER.iterdir()}


def test_a_stored_database_is_of_the_revision_that_it_says(old: Database, revision: str) -> None:
    with old.read() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == revision


def test_an_old_database_gets_the_tables_of_today_and_keeps_its_rows(old: Database) -> None:
    before = count_rows(old)
    assert min(before.values()) >= 1
    old.migrate()
    assert count_rows(old) == before
    with old.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


# Names that can have versions, and one that cannot.
NAMES = ("flowers", "trees", "flowers", "a/b", "flowers")


@pytest.mark.parametrize("revision", ["0003"])
def test_models_of_an_old_database_are_versions_of_their_names(old: Database) -> None:
    with old.write() as connection:
        ids = [add_model(connection, name) for name in NAMES]
        elsewhere = add_model(connection, "flowers", tenant="other")
    old.migrate()
    with old.write() as connection:
        numbers = [models.get(connection, id_, tenant="default").version for id_ in ids]
        assert numbers == [1, 1, 2, None, 3]
        assert models.resolve(connection, "flowers@1", tenant="other").id == elsewhere
        assert all(entry.served for entry in models.repository(connection, tenant="default"))
        for name, version in [("flowers", 4), ("trees", 2), ("new", 1)]:
            assert model_names.next_version(connection, name, tenant="default") == version


def add_model(connection: Connection, name: str, tenant: str = "default") -> str:
    """The id of a model as the old one is, but for what it is called."""
    table = Table("models", MetaData(), autoload_with=connection)
    model = dict(connection.execute(select(table).limit(1)).mappings().one())
    called = {"id": new_id("mdl"), "job_id": new_id("job"), "name": name, "tenant": tenant}
    connection.execute(insert(table).values(model | called))
    return called["id"]


def count_rows(database: Database) -> dict[str, int]:
    with database.read() as connection:
        return {
            table: int(connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0)
            for table in TABLES
        }


def test_jobs_of_an_old_database_are_told_as_they_were(client: TestClient) -> None:
    found = get_jobs(client)
    states = ("succeeded", "failed", "cancelled", "running", "queued")
    assert {name: job["state"] for name, job in found.items()} == {name: name for name in states}
    assert found["failed"]["state_reason"] == "diverged"
    for job in found.values():
        history = client.get(f"/v1/jobs/{job['id']}/metrics").json()
        epochs_completed = job["progress"]["epochs_completed"]
        assert history["epoch"] == list(range(1, epochs_completed + 1))
        happened = client.get(f"/v1/jobs/{job['id']}/events").json()["data"]
        assert [event["id"] for event in happened] == list(range(1, len(happened) + 1))
        assert happened[0]["type"] == "queued"
        assert happened[-1]["type"] == ("epoch" if job["state"] == "running" else job["state"])
    assert found["succeeded"]["progress"]["epochs_completed"] == NUM_EPOCHS


def get_jobs(client: TestClient) -> dict[str, Any]:
    """By their names, which say what state they are in."""
    return {job["name"]: job for job in client.get("/v1/jobs").json()["data"]}


def test_jobs_of_an_old_database_go_on(client: TestClient, old: Database) -> None:
    found = get_jobs(client)
    with old.write() as connection:
        [taken_back] = jobs.reap(
            connection, lease_seconds=60, max_attempts=5, backoff_seconds=0.001
        )
    assert (taken_back.id, taken_back.state) == (found["running"]["id"], "queued")
    with old.write() as connection:
        job = jobs.claim(
            connection,
            found["queued"]["id"],
            owner="me",
            lease_seconds=60,
            num_threads=1,
            max_attempts=5,
        )
    assert job is not None
    assert job.attempt == 1
    spec = JobSpec.model_validate(job.spec)
    assert spec.dataset.features == ("length", "petals", "wild")
    assert spec.training.epochs == NUM_EPOCHS


def test_the_dataset_and_the_model_of_an_old_database_are_understood(client: TestClient) -> None:
    [listed] = client.get("/v1/datasets").json()["data"]
    dataset = client.get(f"/v1/datasets/{listed['id']}").json()
    assert [column["name"] for column in dataset["columns"]] == [
        *("length", "petals", "wild", "label")
    ]
    [model] = client.get("/v1/models").json()["data"]
    assert model["job"] == get_jobs(client)["succeeded"]["id"]
    assert model["metrics"]["test"]["metrics"]["accuracy"] > 0
    assert (model["version"], model["aliases"], model["served"]) == (1, [], True)
    assert client.get("/v1/models/succeeded@1").json() == model
    again = {"dataset": {"id": dataset["id"], "target": "label"}}
    checked = client.post("/v1/jobs?validate_only=true", json=again)
    assert checked.status_code == 200, checked.text
