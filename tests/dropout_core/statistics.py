"""Tolerances that follow from a distribution, not from trying."""

import math

# A normal variable strays further than this many standard deviations with probability 1e-9. Sums
# of the many independent draws of these tests are as good as normal, and their seeds are fixed.
SIGMAS = 6.11


def tolerance(variance: float, num_draws: int) -> float:
    """How far the mean of independent draws of this variance may be from its expectation."""
    return SIGMAS * math.sqrt(variance / num_draws)
