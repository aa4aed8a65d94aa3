"""The network in plain torch, as all peers load it."""

import os
from pathlib import Path

import torch
from torch import Tensor, nn

NUM_FEATURES = 784
HIDDEN = (256, 256)
NUM_CLASSES = 10


def plain_network() -> nn.Sequential:
    first, second = HIDDEN
    return nn.Sequential(
        nn.Linear(NUM_FEATURES, first),
        nn.ReLU(),
        nn.Linear(first, second),
        nn.ReLU(),
        nn.Linear(second, NUM_CLASSES),
    )


def load() -> nn.Sequential:
    """Return the network whose weights BENCHMARK_WEIGHTS names, on one thread."""
    torch.set_num_threads(1)
    network = plain_network()
    network.load_state_dict(torch.load(Path(os.environ["BENCHMARK_WEIGHTS"]), weights_only=True))
    return network.eval()


@torch.inference_mode()
def probabilities(network: nn.Module, rows: Tensor) -> Tensor:
    """(N, 784) float32 -> (N, 10)."""
    outputs: Tensor = network(rows)
    return outputs.softmax(dim=1)
