"""Requests that wait are computed together, in batches: see docs/decisions/0020.

A lone request never waits for others. The requests for one model that have arrived when a batch
starts are computed as one; a row's bits do not depend on its batch, so the answers are the same. A
request of many rows takes several batches, and other requests are computed in between.

Shapes: N rows, V values, K codes of categories, C outputs.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from app.serving.errors import QueueFull
from dropout_core.model.predictor import Predictor

Numbers = NDArray[np.float64]

MAX_BATCH_ROWS = 1024
MAX_SHARED_ROWS = 64  # in a batch of several requests: larger ones are no faster
FULL_BATCH = 32  # requests: stop collecting requests
MAX_WAITING_CELLS = 32_000_000  # of eight bytes each


@dataclass(eq=False)
class _Request:
    """`matrix` has the rows that are still to be computed, `result` the outputs so far."""

    predictor: Predictor
    matrix: Numbers
    outputs: asyncio.Future[Numbers]
    max_rows: int
    result: Numbers | None = None

    def advance(self, part: Numbers) -> bool:
        """Keep the outputs of the next rows. Return whether the request is over."""
        if self.outputs.done():  # the client left
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


class PredictionQueue:
    """Requests that wait to be computed on the event loop or, with `executor`, in a thread.

    Call it on one event loop only.
    """

    def __init__(
        self, executor: Executor | None, *, max_waiting_cells: int = MAX_WAITING_CELLS
    ) -> None:
        self._executor = executor
        self._max_waiting_cells = max_waiting_cells
        self._waiting: deque[_Request] = deque()
        self._waiting_cells = 0
        self._is_running = False
        self._num_seen = 0

    async def outputs(
        self, predictor: Predictor, matrix: Numbers, *, max_rows: int = MAX_BATCH_ROWS
    ) -> Numbers:
        """Return `Predictor.outputs`, in batches of up to `max_rows`: (N, V + K) -> (N, C).

        Raises QueueFull if too many cells would wait; an empty queue takes any matrix.
        """
        waiting_cells = self._waiting_cells + matrix.size
        if self._waiting and waiting_cells > self._max_waiting_cells:
            raise QueueFull
        loop = asyncio.get_running_loop()
        request = _Request(predictor, matrix, loop.create_future(), max_rows)
        self._waiting.append(request)
        self._waiting_cells = waiting_cells
        if not self._is_running:
            self._is_running = True
            loop.call_soon(self._collect)
        return await request.outputs

    def _collect(self) -> None:
        """Start a batch once a whole pass of the event loop has brought no new request.

        In that pass the loop reads every request that has arrived. For a lone request it takes some
        microseconds; no timer runs.
        """
        loop = asyncio.get_running_loop()
        if self._num_seen < len(self._waiting) < FULL_BATCH:
            self._num_seen = len(self._waiting)
            loop.call_soon(self._collect)
        elif self._waiting:
            self._num_seen = 0
            self._start_batch(loop)
        else:
            self._is_running = False

    def _start_batch(self, loop: asyncio.AbstractEventLoop) -> None:
        batch = self._next_batch()
        if self._executor is not None:
            computation = loop.run_in_executor(self._executor, _outputs_of, batch)
            computation.add_done_callback(lambda done: self._end_batch(batch, done))
            return
        try:
            outputs = _outputs_of(batch)
        except Exception as error:
            _fail(batch, error)
        else:
            self._distribute(batch, outputs)
        loop.call_soon(self._collect)

    def _end_batch(self, batch: Sequence[_Request], done: "asyncio.Future[Numbers]") -> None:
        error = done.exception()
        if error is None:
            self._distribute(batch, done.result())
        else:
            _fail(batch, error)
        self._collect()

    def _next_batch(self) -> list[_Request]:
        """Take the first request, and the later ones for the same model that fit in its batch."""
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

    def _distribute(self, batch: Sequence[_Request], outputs: Numbers) -> None:
        """Give each request its outputs; one with rows left goes to the end of the queue."""
        start = 0
        for request in batch:
            stop = start + min(len(request.matrix), request.max_rows)
            if not request.advance(outputs[start:stop]):
                self._waiting.append(request)
                self._waiting_cells += request.matrix.size
            start = stop


def _outputs_of(batch: Sequence[_Request]) -> Numbers:
    """Compute the rows of the batch, or only the first `max_rows` of a single large request."""
    matrices = [request.matrix for request in batch]
    matrix = matrices[0] if len(matrices) == 1 else np.concatenate(matrices)
    return batch[0].predictor.outputs(torch.from_numpy(matrix[: batch[0].max_rows])).numpy()


def _fail(batch: Sequence[_Request], error: BaseException) -> None:
    for request in batch:
        if not request.outputs.done():
            request.outputs.set_exception(error)
