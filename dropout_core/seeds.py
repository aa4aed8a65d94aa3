"""One seed, many independent streams: each named use of chance has a seed of its own."""

import hashlib

import torch


def derive_seed(seed: int, *path: str | int) -> int:
    """A 63-bit seed for the stream `path`, such as ("permutation", 3), of `seed`."""
    digest = hashlib.sha256(repr((seed, *path)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, *path: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator at the start of the stream `path` of `seed`."""
    return torch.Generator(device).manual_seed(derive_seed(seed, *path))
