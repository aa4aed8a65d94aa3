"""Read MNIST and Fashion-MNIST from their files."""

import gzip
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor


def load_part(folder: Path, part: Literal["train", "t10k"]) -> tuple[Tensor, Tensor]:
    """Return the pixels from 0 to 1, (N, 784) float32, and the classes, (N) int64, of a part."""
    images = _read_idx(folder / f"{part}-images-idx3-ubyte.gz")
    labels = _read_idx(folder / f"{part}-labels-idx1-ubyte.gz")
    pixels = torch.from_numpy(images.reshape(len(images), -1) / np.float32(255))
    return pixels, torch.from_numpy(labels.astype(np.int64))


def _read_idx(path: Path) -> Any:
    content = gzip.decompress(path.read_bytes())
    num_dimensions = content[3]
    shape = np.frombuffer(content, ">u4", count=num_dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * num_dimensions).reshape(shape)
