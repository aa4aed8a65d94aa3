"""`python -m worker ROLE`: the worker's processes. Users start them through `dropout-service`.

The roles live in a module's `__main__`, because multiprocessing does not import that a second time
into each trainer. Celery's roles import their own requirements.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from store.operations.gc_freeze import frozen_imports

with frozen_imports():
    import typer

    from store import jobs
    from store.artifacts.artifact_store import open_artifacts
    from store.database.engine import Database
    from store.errors import NewerDatabase
    from store.operations.lifetime import AlreadyRunning, on_parent_exit
    from store.operations.logs import configure_logging
    from store.operations.private_files import create_private_files
    from store.operations.tracing import configure_tracing, end_tracing
    from store.settings import Settings
    from worker.attempt import Worker
    from worker.broker import tasks
    from worker.broker.celery_app import QUEUES, create_celery
    from worker.embedded import local
    from worker.instruments import Instruments
    from worker.trainer_process import warm_up

if TYPE_CHECKING:
    from celery import Celery

LATE_SECONDS = 120  # four times the default time after which a dispatcher sends a message again

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@cli.callback()
def _begin() -> None:
    # After Typer has installed its own hook for uncaught exceptions, which this replaces.
    create_private_files()
    configure_logging()
    configure_tracing("worker")


@cli.command("local")
def run_local(*, with_parent: bool = False, heartbeat_fd: int | None = None) -> None:
    """Claim and run jobs of the embedded service."""
    settings = Settings()
    worker = _worker(settings, owner=local.OWNER)
    _on_signals(worker.draining)
    if with_parent:
        on_parent_exit(worker.draining.set)
    try:
        # The worker of a service that was killed can need a moment to requeue its jobs.
        local.run(
            worker,
            lock_timeout_seconds=2 * settings.grace_seconds if with_parent else 0,
            beat=_heart(heartbeat_fd),
        )
    except AlreadyRunning as error:
        sys.exit(f"error: {error}")


@cli.command("celery")
def run_celery(*, queues: str = ",".join(QUEUES)) -> None:
    """Run the jobs that messages of the given queues name."""
    from celery.signals import setup_logging, worker_shutting_down

    settings = Settings()
    celery = _celery(settings)
    worker = _worker(settings, owner=_process_name())
    tasks.register(celery, worker)
    asked_to_stop = threading.Event()

    def stop(**_: object) -> None:
        asked_to_stop.set()
        worker.draining.set()

    worker_shutting_down.connect(stop, weak=False)
    celery.steps["worker"].add(tasks.drain_step(worker))
    setup_logging.connect(lambda **_: None, weak=False)  # keeps Celery from changing the logging
    _listen(worker.instruments, settings)
    warm_up()
    consumer = celery.Worker(
        pool_cls="threads",  # supervisors wait; trainers are processes of their own
        concurrency=settings.concurrency,
        queues=queues,
        hostname=f"{os.getpid()}@{socket.gethostname()}",
        without_gossip=True,
        without_mingle=True,
        quiet=True,  # its banner is not a log line
    )
    consumer.start()
    if not asked_to_stop.is_set():  # Celery has logged why
        sys.exit(consumer.exitcode or 1)


@cli.command("dispatch")
def run_dispatch() -> None:
    """Relay due jobs to the broker and take back expired leases."""
    from worker.broker import dispatcher

    settings = Settings()
    celery = _celery(settings)
    worker = _worker(settings, owner=_process_name())
    _on_signals(worker.draining)
    _listen(worker.instruments, settings)
    dispatcher.run(worker, celery)


@cli.command("check-dispatch")
def check_dispatch() -> None:
    """Exit 0 unless a job has been due for long without a message, though its queue has room."""
    from worker.broker import dispatcher

    settings = Settings()
    celery = _celery(settings)
    with closing(Database(settings.database)) as database, database.read() as transaction:
        late = jobs.due_for_dispatch(
            transaction,
            redispatch_seconds=LATE_SECONDS,
            due_for_seconds=LATE_SECONDS,
            limit=1,
            max_running=settings.tenant_running_jobs,
        )
    for job_id, queue in late:
        if dispatcher.room(celery, queue) > 0:
            sys.exit(f"error: job {job_id} was not dispatched: no dispatcher is running")


@cli.command("check-celery")
def check_celery() -> None:
    """Exit 0 if the Celery worker of this host answers."""
    answers = _celery(Settings()).control.ping(timeout=5)
    names = {name.split("@")[-1] for answer in answers for name in answer}
    if socket.gethostname() not in names:
        sys.exit("error: the worker of this host does not answer")


def _celery(settings: Settings) -> "Celery":
    try:
        return create_celery(settings)
    except ValueError as error:
        sys.exit(f"error: {error}")


def _listen(instruments: Instruments, settings: Settings) -> None:
    try:
        instruments.listen(settings)
    except OSError as error:
        sys.exit(f"error: DROPOUT_WORKER_METRICS_PORT: {error}")


def _process_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _heart(descriptor: int | None) -> Callable[[], None]:
    """Return a function that tells the parent that the worker's loop goes on."""
    if descriptor is None:
        return lambda: None
    os.set_blocking(descriptor, False)  # a parent that is stopped reads nothing

    def beat() -> None:
        with suppress(OSError):
            os.write(descriptor, b".")

    return beat


def _worker(settings: Settings, *, owner: str) -> Worker:
    database = Database(settings.database)
    try:
        database.migrate()
    except NewerDatabase as error:
        sys.exit(f"error: {error}")
    return Worker(
        settings=settings,
        database=database,
        artifacts=open_artifacts(settings),
        owner=owner,
        draining=threading.Event(),
    )


def _on_signals(stop: threading.Event) -> None:
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())


if __name__ == "__main__":
    try:
        cli()
    finally:
        end_tracing()
