"""MLServer with a custom runtime, as in its guide: mlserver start FOLDER"""

import torch
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.serving_peers.network import load, probabilities


class Network(MLModel):  # type: ignore[misc]
    async def load(self) -> bool:
        self.network = load()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        rows = NumpyCodec.decode_input(payload.inputs[0])
        answer = probabilities(self.network, torch.from_numpy(rows))
        return InferenceResponse(
            model_name=self.name,
            outputs=[NumpyCodec.encode_output("probabilities", answer.numpy())],
        )
