"""A service to be broken: its processes, a client, and its database and artifacts."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import pytest
from sqlalchemy import make_url, select

from store import jobs
from store.access.keys import DEFAULT_TENANT
from store.artifacts.artifact_store import ArtifactStore, open_artifacts
from store.database.engine import Database
from store.database.tables import jobs as jobs_table
from store.jobs import Job
from tests.support.client import Client
from tests.support.processes import wait_for_trainer
from tests.support.service import Service
from tests.support.waiting import wait_until
from tests.support.worker_examples import MODEL, TRAINING

# `make test` tries one fault of each kind; `make test-faults` tries these as well.
only_in_full = pytest.mark.skipif("FAULTS" not in os.environ, reason="make test-faults tries it")

# A fault in the first third of so many epochs finds the job running.
LONGER_EPOCHS = 150

# For tests that wait for leases and outages.
five_minutes_a_run = pytest.mark.timeout(300 * int(os.environ.get("FAULTS", "1")))


@dataclass(frozen=True)
class Stand:
    system: Service
    client: Client
    database: Database
    artifacts: ArtifactStore

    def job(self, job_id: str) -> Job:
        with self.database.read() as transaction:
            return jobs.get(transaction, job_id, tenant=DEFAULT_TENANT)

    def supervisor(self, job_id: str) -> psutil.Process:
        """Return the worker that runs the job."""
        owner = self.job(job_id).owner
        assert owner is not None, "nobody runs the job"
        pid = owner.rpartition(":")[2]
        workers = self.system.find("worker")
        return next((worker for worker in workers if str(worker.pid) == pid), workers[0])

    def trainer(self, job_id: str) -> psutil.Process:
        return wait_for_trainer(self.supervisor(job_id).pid)

    def has_model_files(self, job_id: str, attempt: int) -> bool:
        """Return whether an attempt has put all files of a model."""
        prefix = f"jobs/{job_id}/{attempt}/model"
        return f"{prefix}/model.json" in self.artifacts.list(prefix)  # it is put last

    def num_models(self, job_id: str) -> int:
        every = self.client.read("/v1/models", limit=100)["data"]
        return sum(model["job"] == job_id for model in every)

    def says(self, *words: str) -> bool:
        """Return whether a process has logged a line with all of these words."""
        lines = self.system.log().splitlines()
        return any(all(word in line for word in words) for line in lines)

    def happened(self, job_id: str) -> list[str]:
        """Return the types of the job's events, without epochs."""
        return [e["type"] for e in self.client.events(job_id) if e["type"] not in ("step", "epoch")]


@contextmanager
def standing(system: Service) -> Iterator[Stand]:
    with system, closing(Database(system.settings.database)) as database:
        yield Stand(system, system.client, database, open_artifacts(system.settings))


@contextmanager
def writes_held(database_url: str, job_id: str) -> Iterator[None]:
    """Lock the job's row, which for SQLite is the whole database."""
    with closing(_unhurried(database_url)) as database, database.write() as transaction:
        query = select(jobs_table.c.id).where(jobs_table.c.id == job_id).with_for_update()
        transaction.execute(query)
        yield


def _unhurried(database_url: str) -> Database:
    """Return a database whose idle transactions are not ended by the server."""
    url = make_url(database_url)
    if url.get_backend_name() == "postgresql":
        url = url.update_query_dict({"options": "-c idle_in_transaction_session_timeout=0"})
    return Database(url.render_as_string(hide_password=False), no_timeout=True)


def kill_all_of(process: psutil.Process) -> None:
    """Kill a process group: a process and all that it has started."""
    os.killpg(process.pid, signal.SIGKILL)


def job_on(dataset_id: str, *, epochs: int = 2) -> dict[str, Any]:
    return {
        "dataset": {"id": dataset_id, "target": "label"},
        "model": MODEL,
        "training": {**TRAINING, "epochs": epochs},
    }


def wait_out(seconds: float) -> None:
    deadline = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > deadline, seconds + 1)
