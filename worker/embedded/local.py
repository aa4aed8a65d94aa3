"""The embedded worker, the default: it claims rows itself, without a broker."""

import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from store import jobs
from store.operations.lifetime import only_one
from worker.attempt import Worker
from worker.supervisor import repeat, supervise
from worker.trainer_process import warm_up

OWNER = "local"
REAP_SECONDS = 2.0

log = structlog.get_logger()


def run(
    worker: Worker, *, lock_timeout_seconds: float = 0, beat: Callable[[], None] = lambda: None
) -> None:
    """Run jobs until `worker.draining` is set, then release those in progress.

    `beat` is called at each look for jobs, so that a parent can tell a worker that hangs.

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
        running: dict[str, Future[bool]] = {}

        def step() -> None:
            beat()
            _start_jobs(worker, pool, running)

        repeat(step, worker, reap_seconds=REAP_SECONDS)


def _start_jobs(worker: Worker, pool: ThreadPoolExecutor, running: dict[str, Future[bool]]) -> None:
    """Start due jobs on the free threads of the pool. Raises the error of a supervisor."""
    for job_id in [job_id for job_id, future in running.items() if future.done()]:
        running.pop(job_id).result()
    num_free = worker.settings.concurrency - len(running)
    if num_free == 0:
        return
    with worker.database.read() as transaction:
        due = jobs.claimable(
            transaction, limit=num_free, max_running=worker.settings.tenant_running_jobs
        )
    for job_id in due:
        if job_id not in running:
            running[job_id] = pool.submit(supervise, job_id, worker)
