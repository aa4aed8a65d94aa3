"""A model as it is kept: the network with what was fitted around it, in safetensors and JSON.

Shapes: N rows, F features, C outputs.
"""

import hashlib
import json
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from dropout_core.config import Config, MLPConfig, Task
from dropout_core.files import write_atomically
from dropout_core.mlp import MLP

MANIFEST = "model.json"
WEIGHTS = "model.safetensors"


class ModelError(Exception):
    """The files are not a model, or the model cannot keep its promises on this machine."""


class Description(Config):
    """What a model is, beside its tensors. `classes` are in the order of the outputs."""

    format_version: int = 1
    task: Task
    model: MLPConfig
    target: str
    features: tuple[str, ...]
    classes: tuple[bool | int | float | str, ...] | None
    trained_on: str

    @property
    def num_outputs(self) -> int:
        return 1 if self.classes is None else len(self.classes)


class Manifest(Description):
    """A saved model's `model.json`: the description, and the checksum of the weights beside it."""

    weights_sha256: str


class TabularModel(nn.Module):
    """The network with what was fitted around it: features in their own units in, outputs out.

    Features are standardised in float64, so that large values keep their differences; regression
    values come back in the target's units. Shape: (N, F) float64 -> (N, C).
    """

    feature_mean: Tensor
    feature_scale: Tensor
    target_mean: Tensor
    target_scale: Tensor

    def __init__(self, network: MLP) -> None:
        super().__init__()
        self.network = network
        num_features = network.in_features
        self.register_buffer("feature_mean", torch.zeros(num_features, dtype=torch.float64))
        self.register_buffer("feature_scale", torch.ones(num_features, dtype=torch.float64))
        self.register_buffer("target_mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("target_scale", torch.ones((), dtype=torch.float64))

    def fit_scales(self, features: Tensor, targets: Tensor | None) -> None:
        """Take mean and standard deviation from training rows; a constant column has scale 1.

        Shapes: features (N, F); targets (N, 1) of a regression, None for classes.
        """
        self.feature_mean, self.feature_scale = _mean_and_scale(features)
        if targets is not None:
            mean, scale = _mean_and_scale(targets)
            self.target_mean, self.target_scale = mean.squeeze(0), scale.squeeze(0)

    def standardise(self, features: Tensor) -> Tensor:
        """(N, F) float64 -> (N, F) float32, what the network is trained on."""
        return ((features - self.feature_mean) / self.feature_scale).float()

    def standardise_target(self, targets: Tensor) -> Tensor:
        """(N, 1) float64 -> (N, 1) float32, what a regression is trained towards."""
        return ((targets - self.target_mean) / self.target_scale).float()

    def forward(self, features: Tensor) -> Tensor:
        outputs: Tensor = self.network(self.standardise(features))
        return outputs.double() * self.target_scale + self.target_mean


def _mean_and_scale(values: Tensor) -> tuple[Tensor, Tensor]:
    mean = values.mean(dim=0)
    scale = values.std(dim=0, correction=0)
    # Rounding gives some constant columns a scale that is tiny and not zero.
    varies = (values != values[0]).any(dim=0) & (scale > 0)
    return mean, torch.where(varies, scale, 1.0)


def save_model(folder: Path, model: TabularModel, description: Description) -> Manifest:
    """Write `model.safetensors`, then the `model.json` that vouches for it.

    The same model is the same bytes.
    """
    tensors = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    weights = save(tensors)
    digest = hashlib.sha256(weights).hexdigest()
    manifest = Manifest(**vars(description), weights_sha256=digest)
    write_atomically(folder / WEIGHTS, weights)
    write_atomically(folder / MANIFEST, manifest.model_dump_json(indent=2).encode())
    return manifest


def load_model(folder: Path) -> tuple[TabularModel, Manifest]:
    """Read what `save_model` wrote. Raises ModelError unless the weights match their checksum."""
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        weights = (folder / WEIGHTS).read_bytes()
        if hashlib.sha256(weights).hexdigest() != manifest.weights_sha256:
            raise ModelError("the weights do not match their checksum")
        network = MLP(
            manifest.model,
            in_features=len(manifest.features),
            out_features=manifest.num_outputs,
        )
        model = TabularModel(network)
        model.load_state_dict(load(weights))
    except (OSError, ValidationError, SafetensorError, RuntimeError, json.JSONDecodeError) as error:
        raise ModelError(f"not a readable model: {error}") from error
    return model, manifest
