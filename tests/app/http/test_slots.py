import asyncio
from collections.abc import Sequence

import pytest

from app.http import slots
from app.http.errors import RequestError
from app.http.slots import NUM_SLOTS, TENANT_SLOTS, Slots


async def waiting(shared: Slots, tenants: Sequence[str]) -> list[asyncio.Task[None]]:
    """Have each tenant ask for a slot, in this order."""
    tasks = []
    for tenant in tenants:
        tasks.append(asyncio.create_task(shared.acquire(tenant)))
        await asyncio.sleep(0)
    return tasks


def test_a_tenant_leaves_slots_to_others() -> None:
    async def run() -> None:
        shared = Slots()
        greedy = await waiting(shared, ["a"] * NUM_SLOTS)
        assert [task.done() for task in greedy] == [True] * TENANT_SLOTS + [False] * 2
        other = await waiting(shared, ["b"] * 2)
        assert all(task.done() for task in other)

    asyncio.run(run())


def test_the_tenant_that_holds_the_fewest_is_next() -> None:
    async def run() -> None:
        shared = Slots()
        await waiting(shared, ["a"] * (TENANT_SLOTS - 1) + ["b"] * (NUM_SLOTS - TENANT_SLOTS + 1))
        first_a, first_b, second_a, c = await waiting(shared, ["a", "b", "a", "c"])
        order = []
        for _ in range(4):
            shared.release("a")
            await asyncio.sleep(0)
            order.append([first_a.done(), first_b.done(), second_a.done(), c.done()])
        assert order == [
            [False, False, False, True],  # c held none
            [True, False, False, True],  # a and b held as many, and a has waited longer
            [True, True, False, True],
            [True, True, True, True],
        ]

    asyncio.run(run())


def test_who_stops_waiting_takes_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "SLOT_SECONDS", 0.01)

    async def run() -> None:
        shared = Slots()
        await waiting(shared, [str(number) for number in range(NUM_SLOTS)])
        with pytest.raises(RequestError, match="are running already"):
            async with shared.hold("late"):
                pass
        [cancelled, next_] = await waiting(shared, ["0", "1"])
        cancelled.cancel()
        shared.release("0")  # before the other task has seen that it is cancelled
        await asyncio.sleep(0)
        assert next_.done()
        assert cancelled.cancelled()
        [granted] = await waiting(shared, ["2"])
        shared.release("2")
        granted.cancel()  # at the same moment
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        [another] = await waiting(shared, ["3"])
        assert another.done()

    asyncio.run(run())
