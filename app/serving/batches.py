"""Requests that wait, computed together: see docs/decisions/0020.

A lone request never waits for company. What has come by the time that there is a turn makes one
batch, of one model; and since a row's bits do not depend on its batch, nobody sees the difference.
A request of many rows has several turns, so that others have theirs in between.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from app.http.errors import RequestError
from dropout_core.model.predictor import Predictor

Numbers = NDArray[np.float64]

MAX_BATCH_ROWS = 1024
MAX_SHARED_ROWS = 64  # of a batch of several requests: more would only be copied together
FULL_BATCH = 32  # requests: nobody is looked for any more
MAX_WAITING_CELLS = 32_000_000  # of eight bytes


@dataclass(eq=False)
class _Request:
    """`matrix` is what is still to be computed: of many rows, a part in each turn."""

    predictor: Predictor
    matrix: Numbers
    outputs: asyncio.Future[Numbers]
    max_rows: int
    result: Numbers | None = None

    def advance(self, part: Numbers) -> bool:
        """Note the outputs of the next rows; whether that is all, or nobody asks any more."""
        if self.outputs.done():  # its client is gone
            return True
        if len(part) == len(self.matrix) and self.result is None:
            self.outputs.set_result(part)
            return True
        if self.result is None:
            self.result = np.empty((len(self.matrix), part.shape[1]))
        start = len(self.result) - len(self.matrix)
        self.result[start : start + len(part)] = part
        self.matrix = self.matrix[len(part) :]
        if len(self.matrix) == 0:
            self.outputs.set_result(self.result)
        return self.outputs.done()


class Batches:
    """The requests that wait for one lane: the event loop itself, or a thread of `executor`.

    For one event loop, and to be called on it.
    """

    def __init__(
        self, executor: Executor | None, *, max_waiting_cells: int = MAX_WAITING_CELLS
    ) -> None:
        self._executor = executor
        self._max_waiting_cells = max_waiting_cells
        self._waiting: deque[_Request] = deque()
        self._waiting_cells = 0
        self._is_taking_turns = False
        self._num_seen = 0

    async def outputs(
        self, predictor: Predictor, matrix: Numbers, *, max_rows: int = MAX_BATCH_ROWS
    ) -> Numbers:
        """`Predictor.outputs` of the matrix, in batches of up to `max_rows`: (N, V + K) -> (N, C).

        Raises RequestError (503) if too much waits already; nothing is too much if none does.
        """
        waiting_cells = self._waiting_cells + matrix.size
        if self._waiting and waiting_cells > self._max_waiting_cells:
            raise RequestError(
                503, "busy", "more rows wait for their predictions than may; try again"
            )
        loop = asyncio.get_running_loop()
        request = _Request(predictor, matrix, loop.create_future(), max_rows)
        self._waiting.append(request)
        self._waiting_cells = waiting_cells
        if not self._is_taking_turns:
            self._is_taking_turns = True
            loop.call_soon(self._look)
        return await request.outputs

    def _look(self) -> None:
        """Take a turn as soon as nobody has come since the last look, a pass of the loop ago.

        Who has come is read by then: it takes a lone request some microseconds, and no time waits.
        """
        loop = asyncio.get_running_loop()
        if self._num_seen < len(self._waiting) < FULL_BATCH:
            self._num_seen = len(self._waiting)
            loop.call_soon(self._look)
        elif self._waiting:
            self._num_seen = 0
            self._take_turn(loop)
        else:
            self._is_taking_turns = False

    def _take_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        batch = self._next_batch()
        if self._executor is not None:
            turn = loop.run_in_executor(self._executor, _outputs_of, batch)
            turn.add_done_callback(lambda done: self._end_turn(batch, done))
            return
        try:
            outputs = _outputs_of(batch)
        except Exception as error:
            _fail(batch, error)
        else:
            self._hand_out(batch, outputs)
        loop.call_soon(self._look)

    def _end_turn(self, batch: Sequence[_Request], turn: "asyncio.Future[Numbers]") -> None:
        error = turn.exception()
        if error is None:
            self._hand_out(batch, turn.result())
        else:
            _fail(batch, error)
        self._look()

    def _next_batch(self) -> list[_Request]:
        """The first that waits, and those after it that are of the same model and fit in."""
        first = self._waiting.popleft()
        batch, others, num_rows = [first], [], len(first.matrix)
        for request in self._waiting:
            fits = num_rows + len(request.matrix) <= min(first.max_rows, MAX_SHARED_ROWS)
            if request.predictor is first.predictor and fits:
                batch.append(request)
                num_rows += len(request.matrix)
            else:
                others.append(request)
        self._waiting = deque(others)
        self._waiting_cells -= sum(request.matrix.size for request in batch)
        return batch

    def _hand_out(self, batch: Sequence[_Request], outputs: Numbers) -> None:
        """To each its own; who has rows left waits behind the others for another turn."""
        start = 0
        for request in batch:
            stop = start + min(len(request.matrix), request.max_rows)
            if not request.advance(outputs[start:stop]):
                self._waiting.append(request)
                self._waiting_cells += request.matrix.size
            start = stop


def _outputs_of(batch: Sequence[_Request]) -> Numbers:
    """Of all rows of the batch, or of the first of one that has too many."""
    matrices = [request.matrix for request in batch]
    matrix = matrices[0] if len(matrices) == 1 else np.concatenate(matrices)
    return batch[0].predictor.outputs(torch.from_numpy(matrix[: batch[0].max_rows])).numpy()


def _fail(batch: Sequence[_Request], error: BaseException) -> None:
    for request in batch:
        if not request.outputs.done():
            request.outputs.set_exception(error)
