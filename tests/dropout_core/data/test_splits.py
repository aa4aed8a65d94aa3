import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_core.config import SplitConfig
from dropout_core.data.errors import DataError
from dropout_core.data.splits import random_split


@given(
    num_rows=st.integers(10, 500),
    validation=st.floats(0, 0.4),
    test=st.floats(0, 0.4),
    seed=st.integers(0, 2**53 - 1),
)
@settings(deadline=None)
def test_parts_are_disjoint_cover_every_row_and_have_the_sizes_asked_for(
    num_rows: int, validation: float, test: float, seed: int
) -> None:
    split = random_split(num_rows, SplitConfig(validation=validation, test=test, seed=seed))
    together = torch.cat([split.train, split.validation, split.test])
    assert sorted(together.tolist()) == list(range(num_rows))
    for rows, fraction in ((split.validation, validation), (split.test, test)):
        assert (len(rows) == 0) == (fraction == 0)
        assert abs(len(rows) - num_rows * fraction) <= (0.5 if num_rows * fraction >= 0.5 else 1)
    for rows in (split.train, split.validation, split.test):
        assert rows.dtype == torch.int64
        assert torch.equal(rows, rows.sort().values)


def test_a_seed_decides_the_split() -> None:
    first, same, other = (random_split(1000, SplitConfig(seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(first.test, same.test)
    assert torch.equal(first.validation, same.validation)
    assert not torch.equal(first.test, other.test)


def test_rows_are_held_out_at_random() -> None:
    # The mean of 1000 of 10,000 places drawn without replacement has a standard deviation of
    # sqrt(10000^2 / 12 / 1000 * 0.9) = 87; 6.11 of those are exceeded with probability 1e-9.
    held_out = random_split(10_000, SplitConfig(validation=0.0)).test
    assert abs(held_out.double().mean() - 4999.5) < 6.11 * 87


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    random_split(100, SplitConfig())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("num_rows", "validation", "test"), [(0, 0, 0), (1, 0.1, 0), (2, 0.1, 0.1), (3, 0.5, 0.45)]
)
def test_too_few_rows_are_refused(num_rows: int, validation: float, test: float) -> None:
    with pytest.raises(DataError, match=f"{num_rows} rows are too few for this split") as caught:
        random_split(num_rows, SplitConfig(validation=validation, test=test))
    assert caught.value.field == "split"


def test_one_row_may_be_trained_on() -> None:
    split = random_split(1, SplitConfig(validation=0.0, test=0.0))
    assert split.train.tolist() == [0]
