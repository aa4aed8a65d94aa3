"""Networks that train as one: their steps are computed together, and each keeps its own bits.

    stack = Stack([Training(...), Training(...)])
    for index, metrics in stack:
        print(index, metrics)

A member's bits are those that it has in any other company, or alone.
"""

from collections.abc import Iterator, Mapping, Sequence

from dropout_core.training.loop import Diverged, Training
from dropout_core.training.state import EpochMetrics


class Stack:
    """Training runs that go on side by side: iterate to get (index, EpochMetrics) of each epoch.

    A member leaves when its training is over, and is then settled; when it diverges, and is then in
    `errors`; when it has been dropped; and when it has as many epochs as `limits` says for its
    index. The others go on. Members may have different numbers of epochs behind them.

    `limits` may be changed while the iterator is not running. Iterate again to go on with members
    that a limit has stopped. `Training.state` of a member may be called while the iterator is not
    running; what it returns can be restored into a member of another stack.
    """

    def __init__(
        self, trainings: Sequence[Training], *, limits: Mapping[int, int] | None = None
    ) -> None:
        self.trainings = list(trainings)
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
        while active := self._active():
            for index in active:
                if (metrics := self._epoch(index)) is not None:
                    yield index, metrics
                if self._interrupted:
                    return

    def _active(self) -> list[int]:
        """Return the members that have an epoch to train; settle those that are over."""
        active = []
        for index, training in enumerate(self.trainings):
            if index in self._dropped or index in self.errors or index in self._settled:
                continue
            if training.finished:
                self._settle(index)
            elif len(training.history) < self.limits.get(index, training.config.epochs):
                active.append(index)
        return active

    def _settle(self, index: int) -> None:
        self._settled.add(index)
        try:
            self.trainings[index].settle()
        except Diverged as error:
            self.errors[index] = error

    def _epoch(self, index: int) -> EpochMetrics | None:
        """Train a member's epoch; None if it was interrupted, dropped, or has diverged."""
        training = self.trainings[index]
        if index in self._dropped:
            return None
        try:
            if not training.train_epoch():
                return None
            return training.complete_epoch()
        except Diverged as error:
            self.errors[index] = error
            return None
