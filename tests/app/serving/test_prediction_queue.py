"""Requests that wait are computed together, and none of them can tell."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor

from app.serving.errors import QueueFull
from app.serving.prediction_queue import (
    MAX_BATCH_ROWS,
    MAX_SHARED_ROWS,
    Numbers,
    PredictionQueue,
)
from dropout_core.model.predictor import Predictor
from tests.support.served_models import make_model, normal


def drawn(num_rows: int, num_features: int, *, seed: int = 0) -> Numbers:
    return normal(num_rows, num_features, seed=seed).numpy()


def alone(predictor: Predictor, rows: Numbers) -> Numbers:
    """What the predictor says of them by itself."""
    return Predictor.outputs(predictor, torch.from_numpy(rows)).numpy()


class Counted(Predictor):
    """Notes the sizes of the batches that it is given."""

    def __init__(self, **model: Any) -> None:
        self.batches: list[int] = []
        super().__init__(*make_model(**model))
        self.batches.clear()  # of its proof

    def outputs(self, matrix: Tensor) -> Tensor:
        self.batches.append(len(matrix))
        return super().outputs(matrix)


@pytest.fixture(params=["on the loop", "in a thread"])
def executor(request: pytest.FixtureRequest, thread: Executor) -> Executor | None:
    return None if request.param == "on the loop" else thread


@pytest.fixture
def thread() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def test_each_gets_the_bits_that_it_would_get_alone(executor: Executor | None) -> None:
    predictor = Counted()
    requests = [drawn(size, 5, seed=size) for size in (1, 3, 40, 1, 200)]

    async def ask() -> list[Numbers]:
        queue = PredictionQueue(executor)
        return await asyncio.gather(*(queue.outputs(predictor, rows) for rows in requests))

    answers = asyncio.run(ask())
    assert predictor.batches == [45, 200]
    for rows, answer in zip(requests, answers, strict=True):
        assert answer.tobytes() == alone(predictor, rows).tobytes()


def test_a_lone_request_does_not_wait_for_company(executor: Executor | None) -> None:
    predictor = Counted()

    async def ask() -> None:
        queue = PredictionQueue(executor)
        for size in (1, 2, 3):
            await queue.outputs(predictor, drawn(size, 5))

    asyncio.run(ask())
    assert predictor.batches == [1, 2, 3]


def test_models_do_not_mix_and_a_batch_does_not_grow_for_ever(executor: Executor | None) -> None:
    first, second = Counted(), Counted(num_features=4)
    half = MAX_SHARED_ROWS // 2 + 1

    async def ask() -> None:
        queue = PredictionQueue(executor)
        await asyncio.gather(
            queue.outputs(first, drawn(half, 5)),
            queue.outputs(second, drawn(2, 4)),
            queue.outputs(first, drawn(half, 5)),
            queue.outputs(second, drawn(3, 4)),
            queue.outputs(first, drawn(1, 5)),
        )

    asyncio.run(ask())
    assert first.batches == [half + 1, half]
    assert second.batches == [5]


def test_a_request_of_many_rows_lets_others_in_between(executor: Executor | None) -> None:
    many, few = Counted(), Counted()
    rows = drawn(2 * MAX_BATCH_ROWS + 7, 5)
    ended: list[str] = []

    async def ask(
        queue: PredictionQueue, name: str, predictor: Predictor, matrix: Numbers
    ) -> Numbers:
        outputs = await queue.outputs(predictor, matrix)
        ended.append(name)
        return outputs

    async def both() -> Numbers:
        queue = PredictionQueue(executor)
        outputs, _ = await asyncio.gather(
            ask(queue, "many", many, rows), ask(queue, "few", few, drawn(1, 5))
        )
        return outputs

    outputs = asyncio.run(both())
    assert ended == ["few", "many"]
    assert many.batches == [MAX_BATCH_ROWS, MAX_BATCH_ROWS, 7]
    assert outputs.tobytes() == alone(many, rows).tobytes()


def test_a_lane_may_have_smaller_batches(executor: Executor | None) -> None:
    predictor = Counted()
    requests = [drawn(size, 5, seed=size) for size in (3, 4, 2, 9)]

    async def ask() -> list[Numbers]:
        queue = PredictionQueue(executor)
        return await asyncio.gather(
            *(queue.outputs(predictor, rows, max_rows=5) for rows in requests)
        )

    answers = asyncio.run(ask())
    assert predictor.batches == [5, 4, 5, 4]
    for rows, answer in zip(requests, answers, strict=True):
        assert answer.tobytes() == alone(predictor, rows).tobytes()


def test_too_much_that_waits_is_refused_and_what_waits_is_answered(
    executor: Executor | None,
) -> None:
    predictor = Counted()

    async def ask() -> list[Any]:
        queue = PredictionQueue(executor, max_waiting_cells=50)
        asked = [queue.outputs(predictor, drawn(size, 5)) for size in (20, 1, 1)]
        refused = await asyncio.gather(*asked, return_exceptions=True)
        return [*refused, await queue.outputs(predictor, drawn(10, 5))]

    large, *refused, later = asyncio.run(ask())
    assert large.shape == (20, 3)  # larger than what may wait, but nothing did
    for error in refused:
        assert isinstance(error, QueueFull)
    assert later.shape == (10, 3)


def test_a_client_that_leaves_does_not_harm_its_neighbours(executor: Executor | None) -> None:
    predictor = Counted()

    async def ask() -> Numbers:
        queue = PredictionQueue(executor)
        leaving = asyncio.ensure_future(queue.outputs(predictor, drawn(1, 5, seed=1)))
        staying = asyncio.ensure_future(queue.outputs(predictor, drawn(1, 5, seed=2)))
        await asyncio.sleep(0)
        leaving.cancel()
        return await staying

    expected = alone(predictor, drawn(1, 5, seed=2))
    assert asyncio.run(ask()).tobytes() == expected.tobytes()


def test_all_that_have_come_are_one_batch(executor: Executor | None) -> None:
    predictor = Counted()

    async def ask() -> None:
        queue = PredictionQueue(executor)
        await asyncio.gather(*(queue.outputs(predictor, drawn(1, 5)) for _ in range(40)))

    asyncio.run(ask())
    assert predictor.batches == [40]


def test_a_failure_is_told_to_all_of_the_batch_and_to_nobody_after(
    executor: Executor | None,
) -> None:
    predictor = Counted()

    async def ask() -> list[Any]:
        queue = PredictionQueue(executor)
        wrong, right = drawn(1, 4), drawn(1, 5)
        failed = await asyncio.gather(
            queue.outputs(predictor, wrong),
            queue.outputs(predictor, wrong),
            return_exceptions=True,
        )
        return [*failed, await queue.outputs(predictor, right)]

    *failed, answer = asyncio.run(ask())
    assert [type(error) for error in failed] == [ValueError, ValueError]
    assert answer.shape == (1, 3)


def test_a_long_computation_leaves_the_loop_free(thread: Executor) -> None:
    loop_is_free = threading.Event()

    class Slow(Counted):
        def outputs(self, matrix: Tensor) -> Tensor:
            if matrix.shape == (1, 5):  # and not of its proof
                assert loop_is_free.wait(30)
            return super().outputs(matrix)

    slow, quick = Slow(), Counted()

    async def ask() -> None:
        asked = asyncio.ensure_future(PredictionQueue(thread).outputs(slow, drawn(1, 5)))
        await PredictionQueue(None).outputs(quick, drawn(1, 5))
        assert not asked.done()
        loop_is_free.set()
        await asked

    asyncio.run(ask())
    assert slow.batches == [1]


def test_what_has_been_computed_waits_no_more(executor: Executor | None) -> None:
    predictor = Counted()

    async def ask() -> list[Any]:
        queue, told = PredictionQueue(executor, max_waiting_cells=50), []
        for _ in range(2):
            sizes = (MAX_BATCH_ROWS + 20, 1, 1)
            asked = [queue.outputs(predictor, drawn(size, 5)) for size in sizes]
            told += await asyncio.gather(*asked, return_exceptions=True)
            asked = [queue.outputs(predictor, drawn(size, 5)) for size in (4, 5, 6)]
            told += await asyncio.gather(*asked, return_exceptions=True)
        return told

    told = [isinstance(answer, QueueFull) for answer in asyncio.run(ask())]
    assert told == 2 * [False, True, True, False, False, True]


def test_a_failure_after_a_client_left_is_told_to_the_others(executor: Executor | None) -> None:
    predictor = Counted()
    unexpected: list[Any] = []

    async def ask() -> BaseException | None:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: unexpected.append(told))
        queue = PredictionQueue(executor)
        leaving, staying = (
            asyncio.ensure_future(queue.outputs(predictor, drawn(1, 4))) for _ in range(2)
        )
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([staying], timeout=5)
        return staying.exception() if staying.done() else None

    assert isinstance(asyncio.run(ask()), ValueError)
    assert unexpected == []
