"""Databases as each schema that was ever released left them, stored as text.

`python -m tests.support.stored_databases` stores those of today's: run it before a new migration is
written, with the sources as they were released. `databases/<revision>.<kind>.sql` is then never
changed again.
"""

import io
import re
import sqlite3
import subprocess
import tempfile
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psycopg
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import make_url

from app.main import create_app
from store import jobs
from store.artifacts.artifact_store import open_artifacts
from store.database.engine import MIGRATIONS, Database
from store.jobs import Claim
from store.settings import Settings
from tests.support.in_process import TestClient
from tests.support.servers import PostgresServer
from worker.attempt import Worker
from worker.supervisor import supervise

FOLDER = Path(__file__).parents[1] / "store" / "databases"
KINDS = ("sqlite", "postgresql")
ADDRESS = "http://127.0.0.1"

NUM_EPOCHS = 3
_OWNER = "worker-1"
# Lines of pg_dump for the server and for psql, some of them known to one version alone.
_SESSION = re.compile(r"^(SET|SELECT pg_catalog\.set_config|--|\\)", re.MULTILINE)


def scripts() -> ScriptDirectory:
    """Return the migrations."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return ScriptDirectory.from_config(config)


def load(revision: str, url: str) -> None:
    """Fill an empty database with what was stored of a revision."""
    parsed = make_url(url)
    kind = parsed.get_backend_name()
    statements = (FOLDER / f"{revision}.{kind}.sql").read_text()
    if kind == "sqlite":
        with closing(sqlite3.connect(str(parsed.database))) as sqlite:
            sqlite.executescript(statements)
        return
    plain = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as postgresql:
        postgresql.execute(statements.encode())


def fill(url: str, data_dir: Path) -> None:
    """Use the service: a dataset, and a job in each state but `cancelling`, named by its state.

    The job that runs is held by a worker that has gone; the one that succeeded has a model, and was
    submitted under an idempotency key.
    """
    settings = Settings(data_dir=data_dir, database_url=url, threads_per_job=1)
    with (
        closing(Database(url)) as database,
        TestClient(create_app(settings), base_url=ADDRESS) as client,
    ):
        worker = Worker(
            settings=settings,
            database=database,
            artifacts=open_artifacts(settings),
            owner=_OWNER,
            draining=threading.Event(),
        )
        dataset_id = _post(client, "/v1/datasets", files={"file": ("flowers.csv", _flowers())})[
            "id"
        ]

        def submit(name: str, key: str | None = None, **training: Any) -> str:
            job = {
                "name": name,
                "dataset": {"id": dataset_id, "target": "label"},
                "model": {"hidden": [4], "hidden_dropout": 0.25},
                "training": {"epochs": NUM_EPOCHS, "batch_size": 16, "seed": 7, **training},
                "metadata": {"team": "garden"},
            }
            headers = {} if key is None else {"Idempotency-Key": key}
            return str(_post(client, "/v1/jobs", json=job, headers=headers)["id"])

        supervise(submit("succeeded", key="submit-1"), worker)
        supervise(submit("failed", optimizer={"name": "sgd", "lr": 1e30}), worker)
        _post(client, f"/v1/jobs/{submit('cancelled')}/cancel")
        _run_for_a_while(database, submit("running"))
        submit("queued")


def _run_for_a_while(database: Database, job_id: str) -> None:
    with database.write() as transaction:
        job = jobs.claim(
            transaction, job_id, owner=_OWNER, lease_seconds=1, num_threads=1, max_attempts=5
        )
        assert job is not None
        for epoch in range(1, NUM_EPOCHS):
            metrics = {
                "epoch": epoch,
                "train_loss": 0.7 / epoch,
                "validation_loss": 0.8 / epoch,
                "validation_score": 0.5,
                "learning_rate": 0.001,
                "samples_per_second": 12345.0,
            }
            jobs.record(transaction, Claim(job_id, job.attempt), metrics)


def _flowers() -> bytes:
    random = np.random.default_rng(0)
    length = random.normal(size=60).round(3)
    petals = random.integers(0, 9, 60)
    label = np.where(length + petals / 9 > 0.5, "iris", "rose")
    content = io.BytesIO()
    flowers = {"length": length, "petals": petals, "wild": length > 0, "label": label}
    pl.DataFrame(flowers).write_csv(content)
    return content.getvalue()


def _post(client: TestClient, path: str, **request: Any) -> Any:
    answer = client.post(path, **request)
    assert answer.status_code in (201, 202), answer.text
    return answer.json()


def _store(revision: str, folder: Path) -> None:
    path = folder / "dropout.db"
    fill(f"sqlite:///{path}", folder / "sqlite")
    with closing(sqlite3.connect(path)) as connection:
        content = "\n".join(connection.iterdump())
    (FOLDER / f"{revision}.sqlite.sql").write_text(f"{content}\n")

    with PostgresServer() as server:
        fill(server.url, folder / "postgresql")
        (FOLDER / f"{revision}.postgresql.sql").write_text(_dumped(server))


def _dumped(server: PostgresServer) -> str:
    options = ["--inserts", "--no-owner", "--no-privileges", "--dbname", server.url]
    command = [str(server.binaries / "pg_dump"), *options]
    dump = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = [line for line in dump.stdout.splitlines() if line and not _SESSION.match(line)]
    return "\n".join(lines) + "\n"


def main() -> None:
    revision = scripts().get_current_head()
    assert revision is not None
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        _store(revision, Path(folder))


if __name__ == "__main__":
    main()
