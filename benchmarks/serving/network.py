"""The network that all servers run, 784-256-256-10, and the rows of the requests."""

from pathlib import Path

import httpx
import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks import running
from benchmarks.serving_peers.network import (
    HIDDEN,
    NUM_CLASSES,
    NUM_FEATURES,
    plain_network,
    probabilities,
)
from dropout_core.model.preprocessing import LinearScale
from dropout_core.model.saved_model import load_model

NAME = "benchmark"
NUM_TRAINING_ROWS = 500

Rows = NDArray[np.float64]
"""(N, 784), in [0, 1) with four decimals, so that text and bytes give the same numbers."""


def random_rows(num_rows: int, *, seed: int) -> Rows:
    return np.random.default_rng(seed).integers(0, 10_000, (num_rows, NUM_FEATURES)) / 10_000


def column_names() -> list[str]:
    return [f"x{index}" for index in range(NUM_FEATURES)]


def train(client: httpx.Client, *, seed: int) -> str:
    """Have the service train the network for an epoch, and return the model's id."""
    rows = random_rows(NUM_TRAINING_ROWS, seed=seed)
    table = pl.DataFrame(rows, schema=column_names())
    label = pl.Series("label", np.arange(NUM_TRAINING_ROWS) % NUM_CLASSES)
    dataset = running.upload(client, table.with_columns(label).write_csv().encode())
    job = {"name": NAME, "task": "multiclass", "model": {"hidden": HIDDEN}}
    return running.train(client, dataset, **job, training={"epochs": 1, "seed": seed})


def as_plain_network(folder: Path) -> nn.Sequential:
    """Return a stored model as plain torch layers.

    The first layer includes the scaling of the features, so the peers compute less than the
    model does.
    """
    model, _ = load_model(folder)
    scale = model.preprocessing.scale
    assert isinstance(scale, LinearScale)
    network = plain_network()
    linears = [layer for layer in network if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for layer, trained in zip(linears, model.network.linears, strict=True):
            layer.weight.copy_(trained.weight)
            layer.bias.copy_(trained.bias)
        weight = linears[0].weight.double() / scale.deviation
        linears[0].weight.copy_(weight)
        linears[0].bias.sub_(weight @ scale.mean)
    return network


def answers(network: nn.Module, rows: Rows) -> NDArray[np.float32]:
    """Return the probabilities that torch computes: (N, 784) -> (N, 10)."""
    return probabilities(network, torch.from_numpy(rows).float()).numpy()
