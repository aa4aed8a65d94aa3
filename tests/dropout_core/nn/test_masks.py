import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from dropout_core.nn.masks import (
    LEVELS,
    check_probability,
    keep_mask,
    keep_probability,
    keep_threshold,
)
from tests.support.statistics import SIGMAS, tolerance

NUM_DRAWS = 1 << 21
BYTE_PROBABILITIES = [1 / 256, 0.25, 0.5, 0.8125, 255 / 256]  # a draw of 64 bits serves eight
WORD_PROBABILITIES = [0.001, 0.1, 0.2, 0.8, 0.99]  # or four
PROBABILITIES = WORD_PROBABILITIES + BYTE_PROBABILITIES


def draw(shape: tuple[int, ...], p: float, seed: int = 0) -> Tensor:
    return keep_mask(torch.empty(shape), p, generator=Generator().manual_seed(seed))


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan, math.inf, -math.inf])
def test_a_probability_outside_0_to_1_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1, but got"):
        check_probability(p)
    with pytest.raises(ValueError, match="at least 0 and below 1, but got"):
        check_probability(p, below_one=True)


def test_a_probability_of_1_is_refused_where_something_has_to_be_kept() -> None:
    assert [check_probability(p) for p in (0.0, 0.5, 1.0)] == [0.0, 0.5, 1.0]
    assert check_probability(0.5, below_one=True) == 0.5
    with pytest.raises(ValueError, match="at least 0 and below 1, but got"):
        check_probability(1.0, below_one=True)


@pytest.mark.parametrize("p", PROBABILITIES)
def test_elements_are_kept_with_the_keep_probability(p: float) -> None:
    kept = keep_probability(p)
    rate = draw((NUM_DRAWS,), p).double().mean()
    assert abs(rate - kept) < tolerance(kept * (1 - kept), NUM_DRAWS)


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 5, 7, 8, 16, 256])
@pytest.mark.parametrize("p", [0.2, 0.5, 0.8125])
def test_neighbours_are_independent(p: float, lag: int) -> None:
    # Of independent a and b with mean q, (a - q)(b - q) has mean 0 and variance (q(1 - q))^2, and
    # products of different pairs are uncorrelated. Lags below 8 meet inside a 64-bit word too.
    kept = keep_probability(p)
    centred = draw((NUM_DRAWS,), p).double() - kept
    products = centred[:-lag] * centred[lag:]
    assert abs(products.mean()) < tolerance((kept * (1 - kept)) ** 2, len(products))


@pytest.mark.parametrize(("p", "elements"), [(0.3, 4), (0.25, 8)])
def test_the_elements_of_a_word_are_independent(p: float, elements: int) -> None:
    kept = keep_probability(p)
    centred = draw((NUM_DRAWS // elements, elements), p).double() - kept
    for first, second in itertools.combinations(range(elements), 2):
        products = centred[:, first] * centred[:, second]
        assert abs(products.mean()) < tolerance((kept * (1 - kept)) ** 2, len(products))


@pytest.mark.parametrize(("p", "elements"), [(0.2, 4), (0.25, 8)])
def test_every_place_in_a_word_keeps_alike(p: float, elements: int) -> None:
    kept = keep_probability(p)
    for rate in draw((NUM_DRAWS // elements, elements), p).double().mean(dim=0):
        assert abs(rate - kept) < tolerance(kept * (1 - kept), NUM_DRAWS // elements)


def words_drawn(num_elements: int, p: float) -> int:
    """How many 64-bit words a mask takes from its generator."""
    stream, words = Generator().manual_seed(0), Generator().manual_seed(0)
    keep_mask(torch.empty(num_elements), p, generator=stream)
    for num_words in range(num_elements + 1):
        if torch.equal(stream.get_state(), words.get_state()):
            return num_words
        torch.empty(1, dtype=torch.int64).random_(-(2**63), None, generator=words)
    raise AssertionError("more than a word an element")


@pytest.mark.parametrize("p", BYTE_PROBABILITIES)
def test_a_word_serves_eight_elements_where_bytes_decide(p: float) -> None:
    assert [words_drawn(n, p) for n in (1, 8, 9, 64)] == [1, 1, 2, 8]
    assert keep_probability(p) == 1 - p


@pytest.mark.parametrize("p", WORD_PROBABILITIES)
def test_a_word_serves_four_elements_where_they_do_not(p: float) -> None:
    assert [words_drawn(n, p) for n in (1, 4, 5, 64)] == [1, 1, 2, 16]


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_certainty_takes_no_draw(p: float) -> None:
    assert words_drawn(64, p) == 0


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8, 0.8125])
def test_runs_are_as_many_as_chance_makes(p: float) -> None:
    # A change between neighbours has probability v = 2q(1 - q), and two changes in a row
    # q(1 - q): the variance of their number is n v(1 - v) + 2n (q(1 - q) - v^2).
    kept = keep_probability(p)
    mask = draw((NUM_DRAWS,), p)
    pair = kept * (1 - kept)
    changes = int((mask[1:] != mask[:-1]).sum())
    variance = NUM_DRAWS * (2 * pair * (1 - 2 * pair) + 2 * (pair - (2 * pair) ** 2))
    assert abs(changes - (NUM_DRAWS - 1) * 2 * pair) < SIGMAS * variance**0.5


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_the_draws_of_two_seeds_are_independent(p: float) -> None:
    kept = keep_probability(p)
    one, other = (draw((NUM_DRAWS,), p, seed).double() - kept for seed in (1, 2))
    assert abs((one * other).mean()) < tolerance((kept * (1 - kept)) ** 2, NUM_DRAWS)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (3,), (5, 7), (2, 3, 4), (4097,)])
@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
def test_a_mask_has_the_shape_of_what_it_masks(shape: tuple[int, ...], p: float) -> None:
    mask = draw(shape, p)
    assert mask.shape == shape
    assert mask.dtype == torch.bool


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
def test_a_kept_element_is_one_and_a_dropped_one_zero_in_memory(p: float) -> None:
    # What is no such byte would still compare as True, but count and multiply as another number.
    mask = draw((1001,), p)
    assert set(mask.view(torch.uint8).tolist()) <= {0, 1}
    assert mask.sum() == sum(mask.tolist())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
def test_a_mask_of_numbers_is_the_same_mask(p: float, dtype: torch.dtype) -> None:
    stream = Generator().manual_seed(0)
    mask = keep_mask(torch.empty(7, 11), p, generator=stream, dtype=dtype)
    assert mask.dtype == dtype
    assert torch.equal(mask, draw((7, 11), p).to(dtype))


def test_masks_do_not_share_memory() -> None:
    for p in (0.3, 0.5):
        stream = Generator().manual_seed(0)
        first = keep_mask(torch.empty(1001), p, generator=stream)
        before = first.clone()
        keep_mask(torch.empty(1001), p, generator=stream).zero_()
        assert torch.equal(first, before)


def test_zero_keeps_all_and_one_keeps_none() -> None:
    assert draw((1000,), 0.0).all()
    assert not draw((1000,), 1.0).any()


def test_a_mask_is_a_function_of_seed_and_number_of_elements() -> None:
    assert torch.equal(draw((6, 35), 0.5, seed=7), draw((210,), 0.5, seed=7).view(6, 35))
    assert not torch.equal(draw((210,), 0.5, seed=7), draw((210,), 0.5, seed=8))


def test_a_generator_goes_on_where_it_stood() -> None:
    stream = Generator().manual_seed(0)
    masks = [keep_mask(torch.empty(999), 0.5, generator=stream) for _ in range(2)]
    assert not torch.equal(*masks)


@pytest.mark.parametrize("p", [0.3, 0.5])
@pytest.mark.parametrize("num_threads", [2, 3, 8])
def test_a_mask_does_not_depend_on_the_number_of_threads(num_threads: int, p: float) -> None:
    alone = draw((1_000_003,), p)
    torch.set_num_threads(num_threads)
    try:
        assert torch.equal(draw((1_000_003,), p), alone)
    finally:
        torch.set_num_threads(1)


def test_a_generator_of_its_own_leaves_the_global_one_alone() -> None:
    before = torch.get_rng_state()
    draw((1000,), 0.5)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_generator_the_global_one_is_drawn_from() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        mask = keep_mask(torch.empty(1000), 0.5)
    assert torch.equal(mask, draw((1000,), 0.5, seed=5))


@given(st.floats(0, 1))
def test_the_threshold_is_the_nearest_level_but_certain_only_for_certainty(p: float) -> None:
    threshold = keep_threshold(p)
    assert (threshold == LEVELS) == (p == 0)
    assert (threshold == 0) == (p == 1)
    assert abs(threshold - (1 - p) * LEVELS) <= (0.5 if 1 <= (1 - p) * LEVELS <= LEVELS - 1 else 1)
    assert keep_probability(p) * LEVELS == threshold
