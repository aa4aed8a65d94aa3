import re
import time

import pytest

from store.ids import earliest, new_id, pattern
from tests.support.waiting import wait_until


@pytest.mark.parametrize("prefix", ["ds", "job", "mdl"])
def test_an_id_is_its_prefix_and_26_digits(prefix: str) -> None:
    made = new_id(prefix)
    assert re.fullmatch(f"{prefix}_[0-9a-hjkmnp-tv-z]{{26}}", made)
    assert re.match(pattern(prefix), made)


def test_ids_are_unique() -> None:
    assert len({new_id("job") for _ in range(10_000)}) == 10_000


def test_ids_sort_by_the_millisecond_they_were_made_in() -> None:
    ids = [new_id("job")]
    for _ in range(20):
        before = time.time_ns() // 1_000_000
        wait_until(lambda before=before: time.time_ns() // 1_000_000 > before)
        ids.append(new_id("job"))
    assert ids == sorted(ids)


def test_an_id_is_not_earlier_than_its_time() -> None:
    before = time.time()
    made = new_id("job")
    assert earliest("job", before - 0.002) <= made <= earliest("job", time.time() + 0.002)
    for seconds in (-1e9, 0, before, 2.5e11):
        assert re.match(pattern("job"), earliest("job", seconds))
