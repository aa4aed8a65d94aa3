"""The trainer's end of the pipe to its supervisor."""

import os
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from queue import SimpleQueue

from worker.messages import Assignment, Message, Order, Ordered, Timed


class TrainerPipe:
    """Sends what becomes of jobs. A thread receives orders, and ends the process of an orphan.

    The thread calls what a job has given to `on_order`, which interrupts it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._orders: dict[str, Order] = {}
        self._interrupts: dict[str, Callable[[], None]] = {}
        self._assignments: SimpleQueue[list[Assignment]] = SimpleQueue()
        threading.Thread(target=self._receive, name="orders", daemon=True).start()

    def send(self, job_id: str, message: Message | Timed) -> None:
        """Raises BrokenPipeError or ConnectionResetError if the supervisor is dead."""
        self._connection.send((job_id, message))

    def order_for(self, job_id: str) -> Order | None:
        """Return the last order for the job."""
        return self._orders.get(job_id)

    def on_order(self, job_id: str, interrupt: Callable[[], None]) -> None:
        """Call `interrupt` at each order for the job. Look for an order that came before this."""
        self._interrupts[job_id] = interrupt

    def wait_for_assignments(self) -> list[Assignment]:
        """Return the next assignments. What was ordered before does not concern them."""
        return self._assignments.get()

    def _receive(self) -> None:
        while True:
            try:
                received: Ordered | list[Assignment] = self._connection.recv()
            except (EOFError, OSError):
                os._exit(1)
            if isinstance(received, list):
                for assignment in received:
                    self._orders.pop(assignment.job_id, None)
                    self._interrupts.pop(assignment.job_id, None)
                self._assignments.put(received)
                continue
            for job_id in received.job_ids:
                self._orders[job_id] = received.order
                if interrupt := self._interrupts.get(job_id):
                    interrupt()
