from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from dropout_core.data.turns import Turns
from tests.support.waiting import wait_until


def test_no_owner_has_all_turns() -> None:
    turns = Turns(3)
    with ThreadPoolExecutor(1) as pool, ExitStack() as taken:
        taken.enter_context(turns.take("greedy"))
        with turns.take("greedy"):
            waiting = pool.submit(taker(turns, "greedy", []))
            wait_until(lambda: turns.num_waiting)
            with turns.take("modest"):
                assert not waiting.done()
        waiting.result()


def test_the_next_turn_is_for_the_owner_with_the_fewest() -> None:
    turns, order = Turns(3), list[str]()
    with ThreadPoolExecutor(2) as pool, ExitStack() as taken:
        taken.enter_context(turns.take("greedy"))
        with turns.take("other"), turns.take("other"):
            pool.submit(taker(turns, "greedy", order))
            wait_until(lambda: turns.num_waiting == 1)
            pool.submit(taker(turns, "modest", order))
            wait_until(lambda: turns.num_waiting == 2)
        pool.shutdown()
    assert order == ["modest", "greedy"]


def taker(turns: Turns, owner: str, order: list[str]) -> Callable[[], None]:
    def take() -> None:
        with turns.take(owner):
            order.append(owner)

    return take
