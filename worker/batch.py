"""Messages of many members that are stored by few statements. Does not import torch."""

from typing import Any

from sqlalchemy import Connection as Transaction

from store import jobs
from store.jobs import Claim, Job, RungResult
from worker.messages import Began, EpochCompleted, Message, Reached


class Batch:
    """Steps, then epochs, then results at rungs: of each job in this order."""

    def __init__(self) -> None:
        self._steps: dict[str, list[Claim]] = {}
        self._epochs: list[tuple[Claim, dict[str, Any]]] = []
        self._results: dict[Claim, RungResult] = {}
        self._with_epochs: set[Claim] = set()

    def add(self, claim: Claim, message: Message) -> bool:
        """Take a message; False if the others have to be stored first, or it is of another kind."""
        if claim in self._results:
            return False
        match message:
            case Began(step) if claim not in self._with_epochs:
                self._steps.setdefault(step, []).append(claim)
            case EpochCompleted(metrics):
                self._epochs.append((claim, metrics))
                self._with_epochs.add(claim)
            case Reached(epochs, values, is_finished, detail):
                known = None if values is None else list(values)
                self._results[claim] = RungResult(epochs, known, is_finished, detail)
            case _:
                return False
        return True

    def store(self, transaction: Transaction) -> dict[Claim, Job | None]:
        """Store the messages; return the jobs that pause by that, and None for claims lost."""
        lost: set[Claim] = set()
        for step, claims in self._steps.items():
            lost |= jobs.began(transaction, claims, step)
        if self._epochs:
            lost |= jobs.record_all(transaction, self._epochs)
        ends: dict[Claim, Job | None] = dict.fromkeys(lost)
        if self._results:
            ends = jobs.reached_all(transaction, self._results) | ends
        self.__init__()  # type: ignore[misc]
        return ends
