import re
import time

import pytest

from store.ids import new_id
from tests.support.waiting import wait_until


@pytest.mark.parametrize("prefix", ["ds", "job", "mdl"])
def test_an_id_is_its_prefix_and_26_digits(prefix: str) -> None:
    assert re.fullmatch(f"{prefix}_[0-9a-hjkmnp-tv-z]{{26}}", new_id(prefix))


def test_ids_are_unique() -> None:
    assert len({new_id("job") for _ in range(10_000)}) == 10_000


def test_ids_sort_by_the_millisecond_they_were_made_in() -> None:
    ids = [new_id("job")]
    for _ in range(20):
        before = time.time_ns() // 1_000_000
        wait_until(lambda before=before: time.time_ns() // 1_000_000 > before)
        ids.append(new_id("job"))
    assert ids == sorted(ids)
