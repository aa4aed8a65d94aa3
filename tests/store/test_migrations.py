"""Databases of every age come to be of today's."""

from contextlib import closing
from pathlib import Path

import pytest

from store import datasets, jobs, models
from store.database import Database
from store.spec import JobSpec
from tests.store.first_tables import COLUMNS, MANIFEST, create_first_tables


@pytest.fixture(params=["sqlite", "postgresql"])
def first_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database of the first tables with rows in them, once on each kind."""
    url = (
        f"sqlite:///{tmp_path / 'first.db'}"
        if request.param == "sqlite"
        else request.getfixturevalue("empty_postgresql_url")
    )
    create_first_tables(url)
    return url


def test_rows_of_the_first_tables_live_on(first_url: str) -> None:
    with closing(Database(first_url)) as database:
        database.migrate()
        with database.read() as connection:
            dataset = datasets.get(connection, "ds_1")
            job = jobs.get(connection, "job_1")
            model = models.get(connection, "mdl_1")
            assert jobs.claimable(connection, limit=9) == ["job_1"]
    assert (dataset.options, dataset.warnings, job.warnings) == ({}, [], [])
    assert [column["stored_as"] for column in dataset.columns] == ["number", "boolean", "text"]
    assert [{**c, "stored_as": None} for c in dataset.columns] == [
        {**c, "stored_as": None} for c in COLUMNS
    ]
    assert JobSpec.model_validate(job.spec).dataset.features == ("a", "b")
    assert model.manifest["targets"] == ["c"]
    assert [feature["name"] for feature in model.manifest["encoder"]["features"]] == ["a", "b"]
    assert model.manifest["weights_sha256"] == MANIFEST["weights_sha256"]
