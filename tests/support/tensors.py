"""Small tensors drawn from seeds."""

import torch
from torch import Generator, Tensor


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def normal(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 99) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=dtype)
