"""The supervisor's side of a trainer: its process, pipe and fence. Does not import torch."""

import multiprocessing
import signal
import sys
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection

import structlog
from structlog.contextvars import bound_contextvars

from store.operations.logs import configure_logging
from worker.fence import Fence
from worker.messages import Assignment, Message, Order, Ordered, Timed

TRAINER = "worker.trainer"
PRELOADED = ["worker.forkserver_preload"]
DEATH_SECONDS = 10  # the longest wait for a killed process to end
KILLED = (
    "the trainer was killed by SIGKILL, which this service did not send: "
    "the machine probably ran out of memory"
)

log = structlog.get_logger()

_processes = multiprocessing.get_context("forkserver")


def warm_up() -> None:
    """Start the forkserver of the trainers, and wait until it has loaded torch."""
    _processes.set_forkserver_preload(PRELOADED)
    process = _processes.Process(target=_do_nothing)
    process.start()
    process.join()


class TrainerProcess:
    """A process that trains what it is assigned, and is killed if leases are not renewed."""

    def __init__(self, assignments: list[Assignment], *, fence_seconds: float) -> None:
        self._pipe, trainer_end = _processes.Pipe()
        self._process = _processes.Process(
            target=_run_trainer, args=(trainer_end, assignments), daemon=True
        )
        self._process.start()
        self.fence = Fence(self._process, seconds=fence_seconds)
        trainer_end.close()  # so that the trainer's death closes the pipe

    def assign(self, assignments: list[Assignment]) -> None:
        """Give a trainer that waits its next assignments."""
        self._send(assignments)

    def order(self, order: Order, *job_ids: str) -> None:
        self._send(Ordered(order, frozenset(job_ids)))

    def receive(
        self, *, seconds: float, limit: int
    ) -> tuple[list[tuple[str, Message | Timed]], bool]:
        """Wait for a message; return all that arrived, and False once the trainer is dead."""
        received: list[tuple[str, Message | Timed]] = []
        try:
            while self._pipe.poll(seconds) and len(received) < limit:
                received.append(self._pipe.recv())
                seconds = 0
        except (EOFError, OSError):
            return received, False
        return received, True

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> None:
        self.fence.close()
        self._pipe.close()
        self._process.kill()
        self._process.join(DEATH_SECONDS)

    def cause_of_death(self) -> tuple[str, str]:
        """Return what ended the process, in a word and in a sentence."""
        self._process.join(DEATH_SECONDS)
        code = self._process.exitcode
        cause = f"exit {code}" if code is None or code >= 0 else signal.Signals(-code).name
        if self.fence.has_killed:
            return cause, "the lease was not renewed in time"
        if code == -signal.SIGKILL:  # this process did not send it: the fence is checked above
            return cause, KILLED
        if code is not None and code < 0:
            return cause, f"the trainer was killed by {cause}"
        return cause, f"the trainer ended with exit code {code}"

    def _send(self, sent: list[Assignment] | Ordered) -> None:
        with suppress(OSError):  # the trainer is dead, which the next `receive` detects
            self._pipe.send(sent)


def _run_trainer(connection: Connection, assignments: list[Assignment]) -> None:
    """Run the trainer in the child. It is imported by name: this module must not load torch."""
    configure_logging()
    first = assignments[0]
    with bound_contextvars(job=first.job_id, attempt=first.attempt):
        try:
            import_module(TRAINER).main(connection, assignments)
        except Exception:
            log.exception("the trainer failed")
            sys.exit(1)


def _do_nothing() -> None:
    pass
