"""BentoML with adaptive batching, as in its guide: bentoml serve benchmarks...:Network"""

import bentoml
import numpy as np
import torch

from benchmarks.serving_peers.network import load, probabilities


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Network:
    def __init__(self) -> None:
        self.network = load()

    @bentoml.api(batchable=True)
    def predict(self, instances: np.ndarray) -> np.ndarray:
        """(N, 784) of all the requests that are batched -> (N, 10)."""
        return probabilities(self.network, torch.from_numpy(instances).float()).numpy()
