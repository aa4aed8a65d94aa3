"""LitServe, as in its documentation's first example: python -m ... PORT

`max_batch_size` is not set, which is its default: batches save time if a product takes long, and
make a network this small slower.
"""

import sys
from typing import Any

import litserve
import torch
from torch import Tensor

from benchmarks.serving_peers.network import load, probabilities


class Network(litserve.LitAPI):  # type: ignore[misc]
    def setup(self, device: str) -> None:  # noqa: ARG002
        self.network = load()

    def decode_request(self, request: dict[str, Any]) -> Tensor:
        return torch.tensor(request["instances"])

    def predict(self, rows: Tensor) -> Tensor:
        return probabilities(self.network, rows)

    def encode_response(self, output: Tensor) -> dict[str, Any]:
        return {"probabilities": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Network(), accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        log_level="warning",
        access_log=False,
        generate_client_file=False,
    )
