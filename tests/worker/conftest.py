from pathlib import Path

import pytest

from store.database.engine import Database
from tests.support.processes import warm_trainer_server
from tests.support.worker_examples import new_worker
from worker.attempt import Worker


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    """Trainers start in a moment, as in a worker that has been up for one."""
    warm_trainer_server()


@pytest.fixture
def worker(database: Database, database_url: str, tmp_path: Path) -> Worker:
    """A worker in this process; the test runs once on each kind of database."""
    return new_worker(database, tmp_path / "data", database_url=database_url)
