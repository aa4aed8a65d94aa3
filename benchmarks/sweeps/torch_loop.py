"""The usual loop in torch, written by hand: rows in memory, and batches by their indices."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.sweeps.task import (
    EPOCHS,
    HIDDEN,
    HIDDEN_DROPOUT,
    INPUT_DROPOUT,
    LEARNING_RATE,
    WEIGHT_DECAY,
)


class Rows(NamedTuple):
    """Features (N, F) float32 and targets: classes (N) int64, or numbers (N, 1) float32."""

    features: Tensor
    targets: Tensor
    validation_features: Tensor
    validation_targets: Tensor

    @property
    def num_outputs(self) -> int:
        is_regression = self.targets.is_floating_point()
        return 1 if is_regression else int(self.targets.max()) + 1


def read_rows(path: Path) -> Rows:
    with np.load(path) as arrays:
        return Rows(*(torch.from_numpy(arrays[name]) for name in Rows._fields))


def network(num_features: int, num_outputs: int, config: Mapping[str, float]) -> nn.Sequential:
    """Return the network of a trial, with the service's initial weights."""
    layers: list[nn.Module] = [nn.Dropout(config[INPUT_DROPOUT])]
    widths = (num_features, *HIDDEN)
    for fan_in, fan_out in zip(widths, HIDDEN, strict=False):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU(), nn.Dropout(config[HIDDEN_DROPOUT])]
    layers.append(nn.Linear(HIDDEN[-1], num_outputs))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def losses(
    rows: Rows, config: Mapping[str, float], *, batch_size: int, seed: int
) -> Iterator[float]:
    """Train a trial, and yield the validation loss after each epoch.

    The seed is that of a generator for the order of rows, since torch's global generator, which
    draws weights and dropout, is shared by threads.
    """
    stream = torch.Generator().manual_seed(seed)
    model = network(rows.features.shape[1], rows.num_outputs, config)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config[LEARNING_RATE], weight_decay=config[WEIGHT_DECAY], fused=True
    )
    loss_of = F.mse_loss if rows.targets.is_floating_point() else F.cross_entropy
    for _ in range(EPOCHS):
        model.train()
        for batch in torch.randperm(len(rows.features), generator=stream).split(batch_size):
            loss = loss_of(model(rows.features[batch]), rows.targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.inference_mode():
            yield loss_of(model(rows.validation_features), rows.validation_targets).item()
