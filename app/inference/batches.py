"""Requests that wait, computed together: see docs/decisions/0020.

A lone request never waits for company. What has come by the time that there is a turn makes one
batch, of one model; and since a row's bits do not depend on its batch, nobody sees the difference.
A request of many rows has several turns, so that others have theirs in between.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

import torch
from torch import Tensor

from app.errors import RequestError
from dropout_core.inference import Predictor

MAX_BATCH_ROWS = 1024
MAX_WAITING_CELLS = 32_000_000  # of eight bytes


@dataclass(eq=False)
class _Request:
    """`matrix` is what is still to be computed: of many rows, a part in each turn."""

    predictor: Predictor
    matrix: Tensor
    outputs: asyncio.Future[Tensor]
    parts: list[Tensor] = field(default_factory=list)

    def advance(self, part: Tensor) -> bool:
        """Note the outputs of the next rows; whether that is all, or nobody asks any more."""
        self.parts.append(part)
        self.matrix = self.matrix[len(part) :]
        if self.outputs.done():  # its client is gone
            return True
        if len(self.matrix) == 0:
            self.outputs.set_result(part if len(self.parts) == 1 else torch.cat(self.parts))
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

    async def outputs(self, predictor: Predictor, matrix: Tensor) -> Tensor:
        """`Predictor.outputs` of the matrix, in whatever batch: (N, V + K) -> (N, C).

        Raises RequestError (503) if too much waits already; nothing is too much if none does.
        """
        waiting_cells = self._waiting_cells + matrix.numel()
        if self._waiting and waiting_cells > self._max_waiting_cells:
            raise RequestError(
                503, "busy", "more rows wait for their predictions than may; try again"
            )
        loop = asyncio.get_running_loop()
        request = _Request(predictor, matrix, loop.create_future())
        self._waiting.append(request)
        self._waiting_cells = waiting_cells
        if not self._is_taking_turns:
            self._is_taking_turns = True
            # After all requests that have come with this one.
            loop.call_soon(self._take_turn)
        return await request.outputs

    def _take_turn(self) -> None:
        if not self._waiting:
            self._is_taking_turns = False
            return
        batch = self._next_batch()
        loop = asyncio.get_running_loop()
        if self._executor is None:
            try:
                outputs = _outputs_of(batch)
            except Exception as error:
                _fail(batch, error)
            else:
                self._hand_out(batch, outputs)
            loop.call_soon(self._take_turn)
        else:
            turn = loop.run_in_executor(self._executor, _outputs_of, batch)
            turn.add_done_callback(lambda done: self._end_turn(batch, done))

    def _end_turn(self, batch: Sequence[_Request], turn: "asyncio.Future[Tensor]") -> None:
        error = turn.exception()
        if error is None:
            self._hand_out(batch, turn.result())
        else:
            _fail(batch, error)
        self._take_turn()

    def _next_batch(self) -> list[_Request]:
        """The first that waits, and those after it that are of the same model and fit in."""
        first = self._waiting.popleft()
        batch, others, num_rows = [first], [], len(first.matrix)
        for request in self._waiting:
            fits = num_rows + len(request.matrix) <= MAX_BATCH_ROWS
            if request.predictor is first.predictor and fits:
                batch.append(request)
                num_rows += len(request.matrix)
            else:
                others.append(request)
        self._waiting = deque(others)
        self._waiting_cells -= sum(request.matrix.numel() for request in batch)
        return batch

    def _hand_out(self, batch: Sequence[_Request], outputs: Tensor) -> None:
        """To each its own; who has rows left waits behind the others for another turn."""
        start = 0
        for request in batch:
            stop = start + min(len(request.matrix), MAX_BATCH_ROWS)
            if not request.advance(outputs[start:stop]):
                self._waiting.append(request)
                self._waiting_cells += request.matrix.numel()
            start = stop


def _outputs_of(batch: Sequence[_Request]) -> Tensor:
    """Of all rows of the batch, or of the first of one that has too many."""
    matrices = [request.matrix for request in batch]
    matrix = matrices[0] if len(matrices) == 1 else torch.cat(matrices)
    return batch[0].predictor.outputs(matrix[:MAX_BATCH_ROWS])


def _fail(batch: Sequence[_Request], error: BaseException) -> None:
    for request in batch:
        if not request.outputs.done():
            request.outputs.set_exception(error)
