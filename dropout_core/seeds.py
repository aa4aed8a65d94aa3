"""Independent random streams from one seed: each named stream has a seed of its own."""

import hashlib

import torch


def derive_seed(seed: int, *path: str | int) -> int:
    """Return a 63-bit seed for the stream `path`, such as ("permutation", 3), of `seed`."""
    digest = hashlib.sha256(repr((seed, *path)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, *path: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a new generator at the start of the stream `path` of `seed`."""
    return torch.Generator(device).manual_seed(derive_seed(seed, *path))
