"""Bernoulli masks, fast and exactly unbiased.

PyTorch's `bernoulli_` draws one random number an element, serially on many CPUs. Here every 64-bit
draw serves four elements: each is kept where its sixteen bits, read as an unsigned integer, lie
below `keep_threshold(p)`. Where the upper eight of these bits decide alone, as for p of a half or
a quarter, a draw serves eight. The probability realised is a multiple of 1/65536; scaling by its
exact inverse keeps the expectation of inverted dropout exactly that of its input.
"""

import torch
from torch import Generator, Tensor

LEVELS = 1 << 16
_BYTE_LEVELS = 1 << 8
_WORD_BYTES = 8


def check_probability(p: float, *, below_one: bool = False) -> float:
    """Return p; raise ValueError unless 0 <= p <= 1, or p < 1 where `below_one` is asked for."""
    if below_one and not 0.0 <= p < 1.0:
        raise ValueError(f"dropout probability has to be at least 0 and below 1, but got {p}")
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    return p


def keep_threshold(p: float) -> int:
    """Return how many of the 65,536 levels are kept when dropping with probability p.

    Only p = 1 gives 0 and only p = 0 gives 65,536, so that a small p still drops and a large one
    still keeps.
    """
    if p == 0.0 or p == 1.0:
        return LEVELS if p == 0.0 else 0
    return min(max(round((1.0 - p) * LEVELS), 1), LEVELS - 1)


def keep_probability(p: float) -> float:
    """Return the probability with which an element is really kept, exact in binary."""
    return keep_threshold(p) / LEVELS


def survivor_scale(p: float) -> float:
    """Return what inverted dropout multiplies survivors by: 1 / keep_probability(p), or 0."""
    return 1.0 / keep_probability(p) if p < 1.0 else 0.0


def keep_mask(
    like: Tensor,
    p: float,
    *,
    generator: Generator | None = None,
    dtype: torch.dtype = torch.bool,
) -> Tensor:
    """Draw a mask of the shape and device of `like`: true, or 1, with `keep_probability(p)`.

    The draw depends on the generator's state and the number of elements alone, not on the number
    of threads. Numbers of a `dtype` wider than a byte multiply several times faster than bools.
    """
    threshold = keep_threshold(p)
    if threshold in (0, LEVELS):
        return torch.full(like.shape, threshold == LEVELS, device=like.device, dtype=dtype)
    bound, bits = bound_of(threshold)
    num_elements = like.numel()
    num_words = words_of(num_elements, bits)
    words = torch.empty(num_words, dtype=torch.int64, device=like.device)
    draw_words_(words, generator)
    # torch compares in place at full speed: a result of dtype bool takes several times as long.
    kept = words.view(bits)[:num_elements].lt_(bound).view(like.shape)
    return kept.to(torch.int8).view(torch.bool) if dtype is torch.bool else kept.to(dtype)


def bound_of(threshold: int) -> tuple[int, torch.dtype]:
    """Return the bound of the random bits that are kept, and their dtype.

    torch compares signed integers at full speed, so half of the levels are negative.
    """
    if threshold % _BYTE_LEVELS == 0:
        return threshold // _BYTE_LEVELS - _BYTE_LEVELS // 2, torch.int8
    return threshold - LEVELS // 2, torch.int16


def words_of(num_elements: int, bits: torch.dtype) -> int:
    """Return how many 64-bit words hold the random bits of so many elements."""
    return -(-num_elements * bits.itemsize // _WORD_BYTES)


def draw_words_(words: Tensor, generator: Generator | None) -> Tensor:
    """Fill the words, int64, with random bits. Two draws of a generator give what one gives."""
    return words.random_(-(2**63), None, generator=generator)
