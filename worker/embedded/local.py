"""The embedded worker, the default: it claims rows itself, without a broker."""

import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor

import structlog
from sqlalchemy.exc import SQLAlchemyError

from store import jobs
from store.database.engine import is_unavailable
from store.operations.lifetime import only_one
from store.operations.retention import sweeping
from worker.attempt import warm_up
from worker.supervisor import Worker, reap, supervise

OWNER = "local"
POLL_SECONDS = 0.1
REAP_SECONDS = 2.0
RETRY_SECONDS = 1.0

log = structlog.get_logger()


def run(worker: Worker, *, lock_timeout_seconds: float = 0) -> None:
    """Run jobs until `worker.draining` is set, then release those in progress.

    Raises AlreadyRunning if another worker serves the data directory beyond the timeout.
    """
    with (
        only_one(worker.settings.data_dir / "worker.lock", timeout_seconds=lock_timeout_seconds),
        ThreadPoolExecutor(worker.settings.concurrency, thread_name_prefix="supervisor") as pool,
    ):
        shutil.rmtree(worker.scratch, ignore_errors=True)
        # The previous holder of the lock is dead, so its jobs need not wait for their leases.
        with worker.database.write() as transaction:
            jobs.expire_leases(transaction, owner=worker.owner)
        warm_up()
        log.info("worker ready", concurrency=worker.settings.concurrency)
        try:
            with sweeping(worker.settings, worker.database, worker.artifacts):
                _Loop(worker, pool).run()
        finally:  # also after an error, or the pool would wait for the end of the jobs
            worker.draining.set()


class _Loop:
    def __init__(self, worker: Worker, pool: ThreadPoolExecutor) -> None:
        self._worker = worker
        self._pool = pool
        self._running: dict[str, Future[bool]] = {}
        self._reap_at = 0.0

    def run(self) -> None:
        draining = self._worker.draining
        while not draining.wait(POLL_SECONDS):
            try:
                self._reap()
                self._start_jobs()
            except SQLAlchemyError as error:
                if not is_unavailable(error):
                    raise
                log.warning("the database does not answer")
                draining.wait(RETRY_SECONDS)

    def _reap(self) -> None:
        if time.monotonic() < self._reap_at:
            return
        worker = self._worker
        reap(worker.settings, worker.database, worker.instruments)
        self._reap_at = time.monotonic() + REAP_SECONDS

    def _start_jobs(self) -> None:
        for job_id in [job_id for job_id, future in self._running.items() if future.done()]:
            self._running.pop(job_id).result()
        num_free = self._worker.settings.concurrency - len(self._running)
        if num_free == 0:
            return
        with self._worker.database.read() as transaction:
            due = jobs.claimable(
                transaction,
                limit=num_free,
                max_running=self._worker.settings.tenant_running_jobs,
            )
        for job_id in due:
            if job_id not in self._running:
                self._running[job_id] = self._pool.submit(supervise, job_id, self._worker)
