"""A job that ran when a backup was made goes on from there, elsewhere."""

from contextlib import closing
from pathlib import Path

from store import jobs
from store.access.keys import DEFAULT_TENANT
from store.database.engine import Database
from store.operations.backup import backup
from store.operations.restore import restore
from store.settings import Settings
from tests.support.worker_examples import (
    SWIFT,
    Result,
    artifacts_of,
    event_types,
    new_job,
    new_worker,
    result,
    run_to_end,
    supervising,
    wait_for_epoch,
)

RESUMED_AT = 10


def test_a_job_that_trained_during_a_backup_ends_elsewhere_with_the_same_bits(
    uninterrupted: Result, tmp_path: Path
) -> None:
    here, there = (Settings(data_dir=tmp_path / name, **SWIFT) for name in ("here", "there"))
    file = tmp_path / "backup.tar"
    with closing(Database(here.database)) as database:
        database.migrate()
        worker = new_worker(database, here.data_dir)
        job_id = new_job(worker)
        with supervising(job_id, worker):
            wait_for_epoch(worker, job_id, RESUMED_AT)
            made = backup(here, worker.artifacts, file)
            with database.write() as transaction:
                jobs.cancel(transaction, job_id, tenant=DEFAULT_TENANT)
    assert (made.num_unfinished_jobs, made.lost) == (1, [])

    restored = restore(there, file)
    assert restored.num_resumed == 1
    with closing(Database(there.database)) as database:
        worker = new_worker(database, there.data_dir)
        assert any("/checkpoints/" in key for key in artifacts_of(worker, job_id))
        job = run_to_end(worker, job_id)
        assert (job.state, job.attempt, job.failures) == ("succeeded", 2, 0)
        assert event_types(worker, job_id) == [
            *("queued", "running", "requeued", "running", "succeeded")
        ]
        assert result(worker, job_id) == uninterrupted
