"""Points that fill a cube evenly (Sobol 1967; scrambled as in Owen 1995)."""

import torch


def points(*, num_dimensions: int, count: int, seed: int) -> list[list[float]]:
    """Return the first `count` points of the sequence, each of so many coordinates in [0, 1)."""
    engine = torch.quasirandom.SobolEngine(  # type: ignore[no-untyped-call]
        num_dimensions, scramble=True, seed=seed
    )
    drawn: list[list[float]] = engine.draw(count, dtype=torch.float64).tolist()
    return drawn
