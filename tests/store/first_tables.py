"""A database as the first release left it, with a dataset, a job on it and the job's model."""

import json
from contextlib import closing
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from store.database import MIGRATIONS, Database

COLUMNS = [
    {"name": "a", "type": "numeric", "integral": True, "num_missing": 0, "num_distinct": 9},
    {"name": "b", "type": "boolean", "integral": False, "num_missing": 0, "num_distinct": 2},
    {"name": "c", "type": "categorical", "integral": False, "num_missing": 1, "num_distinct": 3},
]
SPEC = {
    "name": None,
    "dataset": {"id": "ds_1", "target": "c", "features": ["a", "b"], "split": {"seed": 3}},
    "task": "multiclass",
    "model": {"hidden": [8]},
    "training": {"epochs": 3},
    "metadata": {},
}
MANIFEST = {
    "format_version": 1,
    "task": "multiclass",
    "model": {"hidden": [8]},
    "target": "c",
    "features": ["a", "b"],
    "classes": ["x", "y", "z"],
    "trained_on": "cpu/avx2",
    "weights_sha256": "0" * 64,
}


def _upgrade(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _insert(connection: Connection, table: str, **values: Any) -> None:
    names = ", ".join(f'"{name}"' for name in values)
    places = ", ".join(f":{name}" for name in values)
    plain = {k: json.dumps(v) if isinstance(v, dict | list) else v for k, v in values.items()}
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({places})"), plain)


def create_first_tables(url: str) -> None:
    """Fill an empty database."""
    with closing(Database(url)) as database, database.write() as connection:
        _upgrade(connection, "0001")
        _insert(
            connection,
            "datasets",
            id="ds_1",
            name="first",
            format="csv",
            size_bytes=9,
            num_rows=9,
            sha256="0" * 64,
            columns=COLUMNS,
            artifact="datasets/1",
            created_at=1.0,
        )
        _insert(
            connection,
            "jobs",
            id="job_1",
            dataset_id="ds_1",
            spec=SPEC,
            queue="cpu",
            state="queued",
            attempt=0,
            failures=0,
            run_after=0,
            created_at=1.0,
            epochs_completed=0,
            num_events=0,
        )
        _insert(
            connection,
            "models",
            id="mdl_1",
            job_id="job_1",
            manifest=MANIFEST,
            metrics={},
            num_parameters=9,
            size_bytes=9,
            artifact="jobs/1",
            created_at=1.0,
        )
