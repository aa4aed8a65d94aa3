"""Networks that train as one: their steps are computed together, and each keeps its own bits.

    stack = Stack([Training(...), Training(...)])
    for index, metrics in stack:
        print(index, metrics)

A member's bits are those that it has in any other company, or alone.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from dropout_core.training.loop import Diverged, Training
from dropout_core.training.stack_cohort import Cohort, company, is_stacked
from dropout_core.training.state import EpochMetrics
from dropout_core.training.training_data import TrainingData


class Stack:
    """Training runs that go on side by side: iterate to get (index, EpochMetrics) of each epoch.

    A member leaves when its training is over, and is then settled; when it diverges, and is then in
    `errors`; when it has been dropped; and when it has as many epochs as `limits` says for its
    index. The others go on. Members may have different numbers of epochs behind them.

    `limits` may be changed while the iterator is not running. Iterate again to go on with members
    that a limit has stopped. `Training.state` of a member may be called while the iterator is not
    running; what it returns can be restored into a member of another stack, before that is iterated
    over. Members with equal data share it.
    """

    def __init__(
        self, trainings: Sequence[Training], *, limits: Mapping[int, int] | None = None
    ) -> None:
        self.trainings = list(trainings)
        _share_data(self.trainings)
        self.limits = dict(limits or {})
        self.errors: dict[int, Diverged] = {}
        self._dropped: set[int] = set()
        self._settled: set[int] = set()
        self._interrupted = False

    def interrupt(self) -> None:
        """End the iteration before the next batch. Any thread may call it.

        As with `Training.interrupt`, the states are then restored into new runs.
        """
        self._interrupted = True
        for training in self.trainings:
            training.interrupt()

    def drop(self, index: int) -> None:
        """Leave a member out from before the next batch on. Any thread may call it."""
        self._dropped.add(index)
        self.trainings[index].interrupt()

    def __iter__(self) -> Iterator[tuple[int, EpochMetrics]]:
        cohort: Cohort | None = None
        try:
            while active := self._active():
                chosen = self._next(active)
                if len(chosen) == 1 and not is_stacked(self.trainings[chosen[0]]):
                    trains = self.trainings[chosen[0]].train_epoch
                else:
                    cohort = self._cohort(cohort, chosen)
                    trains = cohort.train
                trains()
                for index in chosen:
                    metrics = self._completed(index)
                    if cohort is not None and not self._goes_on(index):
                        cohort.release()  # or whoever copies its model copies all of the stack
                        cohort = None
                    if metrics is not None:
                        yield index, metrics
                if self._interrupted:
                    return
        finally:
            if cohort is not None:
                cohort.release()

    def _active(self) -> list[int]:
        """Return the members that have an epoch to train; settle those that are over."""
        active = []
        for index, training in enumerate(self.trainings):
            if index in self._dropped or index in self.errors or index in self._settled:
                continue
            if training.finished:
                self._settle(index)
            elif self._goes_on(index):
                active.append(index)
        return active

    def _goes_on(self, index: int) -> bool:
        """Return whether a member has not left, at the end of an epoch."""
        training = self.trainings[index]
        limit = self.limits.get(index, training.config.epochs)
        gone = index in self._dropped or index in self.errors or training.finished
        return not gone and len(training.history) < limit

    def _settle(self, index: int) -> None:
        self._settled.add(index)
        try:
            self.trainings[index].settle()
        except Diverged as error:
            self.errors[index] = error

    def _next(self, active: list[int]) -> list[int]:
        """Return members whose next batches are computed together.

        Those within an epoch come first, so that they then begin the next one with the others.
        """
        trainings = self.trainings
        first = max(active, key=lambda i: (trainings[i].batch, -len(trainings[i].history)))
        if not is_stacked(trainings[first]):
            return [first]
        wanted = company(trainings[first])
        return [i for i in active if is_stacked(trainings[i]) and company(trainings[i]) == wanted]

    def _cohort(self, current: Cohort | None, chosen: list[int]) -> Cohort:
        """Return the members as a cohort: the current one, if it has no others."""
        trainings = [self.trainings[index] for index in chosen]
        if current is not None:
            if {*map(id, current.trainings)} == {*map(id, trainings)}:
                return current
            current.release()
        return Cohort(trainings)

    def _completed(self, index: int) -> EpochMetrics | None:
        """Complete a member's epoch, if it is at its end; None also if the member has diverged."""
        training = self.trainings[index]
        if training.batch < training.batches_to_train:
            return None
        try:
            return training.complete_epoch()
        except Diverged as error:
            self.errors[index] = error
            return None


def _share_data(trainings: Sequence[Training]) -> None:
    """Let the runs have tensors with equal values only once."""
    known: list[Tensor] = []

    def shared(tensor: Tensor) -> Tensor:
        for other in known:
            if other is tensor or (other.dtype == tensor.dtype and torch.equal(other, tensor)):
                return other
        known.append(tensor)
        return tensor

    for training in trainings:
        given = {name: part for name, part in vars(training.data).items() if part is not None}
        training.data = TrainingData(**{name: shared(part) for name, part in given.items()})
