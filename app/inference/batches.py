"""Requests that wait, computed together: see docs/decisions/0020.

A lone request never waits for company. What has come by the time that there is a turn makes one
batch, of one model; and since a row's bits do not depend on its batch, nobody sees the difference.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import torch
from torch import Tensor

from app.errors import RequestError
from dropout_core.inference import Predictor

MAX_BATCH_ROWS = 1024
MAX_WAITING_CELLS = 32_000_000  # of eight bytes


@dataclass(frozen=True, eq=False)
class _Request:
    predictor: Predictor
    matrix: Tensor
    outputs: asyncio.Future[Tensor]


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
            _compute(batch)
            loop.call_soon(self._take_turn)
            return
        turn = loop.run_in_executor(self._executor, _outputs_of, batch)
        turn.add_done_callback(lambda done: self._end_turn(batch, done))

    def _end_turn(self, batch: Sequence[_Request], turn: "asyncio.Future[Tensor]") -> None:
        error = turn.exception()
        if error is None:
            _hand_out(batch, turn.result())
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


def _compute(batch: Sequence[_Request]) -> None:
    try:
        outputs = _outputs_of(batch)
    except Exception as error:
        _fail(batch, error)
    else:
        _hand_out(batch, outputs)


def _outputs_of(batch: Sequence[_Request]) -> Tensor:
    matrices = [request.matrix for request in batch]
    return batch[0].predictor.outputs(matrices[0] if len(matrices) == 1 else torch.cat(matrices))


def _hand_out(batch: Sequence[_Request], outputs: Tensor) -> None:
    start = 0
    for request in batch:
        stop = start + len(request.matrix)
        if not request.outputs.done():  # its client may be gone
            request.outputs.set_result(outputs[start:stop])
        start = stop


def _fail(batch: Sequence[_Request], error: BaseException) -> None:
    for request in batch:
        if not request.outputs.done():
            request.outputs.set_exception(error)
