"""Models on disk: network, preprocessing and description, in safetensors and JSON.

Shapes: N rows, V values, K codes of categories, C outputs.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import polars as pl
import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from dropout_core.config import Config, MLPConfig, PreprocessingConfig, Task, added
from dropout_core.config.base import Positive
from dropout_core.data.categories import CategoricalFeature
from dropout_core.data.encoder import Encoder
from dropout_core.data.features import NumericFeature
from dropout_core.data.formats import CellFormat
from dropout_core.data.labels import LabelColumn
from dropout_core.data.reading import Reading
from dropout_core.data.targets import labelled
from dropout_core.errors import ModelError
from dropout_core.files import write_atomically
from dropout_core.model.preprocessing import Preprocessing, mean_and_scale, standardise
from dropout_core.nn.inputs import InputLayer
from dropout_core.nn.members import AVERAGES
from dropout_core.nn.mlp import MLP
from dropout_core.nn.numbers import PiecewiseLinearEmbedding
from dropout_core.nn.quantiles import median_index

MANIFEST = "model.json"
WEIGHTS = "model.safetensors"


class Calibration(Config):
    """What the validation rows taught a trained model, without the scores, which are tensors.

    `temperature` divides the logits; it is 1 for a regression. `num_scores` of conformal
    predictions are kept; it is 0 for a multilabel model, which has no such predictions.
    """

    temperature: Positive = 1.0
    num_scores: Annotated[int, Field(ge=0)] = 0


class Description(Config):
    """The description of a model without its tensors. `classes` are in the order of the outputs.

    A regression has no classes and one output for each target, or one for each of the `quantiles`
    of each target: those of a target follow each other. A `multilabel` model also has one
    output for each target, and its classes are the names of the targets, which are labels that
    the `label_column` lists if there is one. `target_formats` say how the numbers of targets are
    written, by name.
    """

    format_version: Literal[2] = 2
    task: Task
    model: MLPConfig
    preprocessing: PreprocessingConfig
    encoder: Encoder
    targets: tuple[str, ...]
    classes: tuple[bool | int | float | str, ...] | None
    trained_on: str
    target_formats: Mapping[str, CellFormat] = added({})
    label_column: LabelColumn | None = added(None)
    calibration: Calibration | None = added(None)
    quantiles: tuple[float, ...] | None = added(None)

    @cached_property
    def reading(self) -> Reading:
        """How the text of targets is read."""
        return Reading(formats=self.target_formats, missing=self.encoder.missing)

    @cached_property
    def features(self) -> tuple[str, ...]:
        """The names of the features, in the order of rows without names."""
        return tuple(feature.name for feature in self.encoder.features)

    @property
    def output_names(self) -> tuple[bool | int | float | str, ...]:
        """The names of the outputs: the classes, or the targets of a regression."""
        return self.targets if self.classes is None else self.classes

    @property
    def known_targets(self) -> tuple[str, ...]:
        """The columns that may hold targets: the targets, and the one that lists labels."""
        listed = () if self.label_column is None else (self.label_column.name,)
        return *self.targets, *listed

    @property
    def num_quantiles(self) -> int:
        """The number of quantiles of each target; 1 without quantiles."""
        return len(self.quantiles or (0.5,))

    @property
    def num_outputs(self) -> int:
        return len(self.output_names) * self.num_quantiles

    @cached_property
    def of_values(self) -> slice:
        """The outputs that are the values of a regression: the quantiles next to the medians."""
        return slice(median_index(self.quantiles or (0.5,)), None, self.num_quantiles)

    def labelled(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, Tensor]:
        """Return the rows that have all targets, and their targets. Raises DataError."""
        return labelled(
            frame,
            self.targets,
            self.task,
            self.classes,
            reading=self.reading,
            label_column=self.label_column,
        )


class Manifest(Description):
    """The content of `model.json`: the description and the checksum of the weights."""

    weights_sha256: str


class TabularModel(nn.Module):
    """Preprocessing, network and the scale of the targets: raw values and codes in, outputs out.

    The outputs of a regression are in the targets' own units, logits of a calibrated model are
    divided by its temperature. Shape: (N, V + K) float64 as `Encoder.encode` gives it -> (N, C).

    `target_mean` and `target_scale` (C) make this of the network's outputs. A calibrated model also
    has `scores` (M, S); see `conformal`.
    """

    target_mean: Tensor
    target_scale: Tensor
    scores: Tensor | None

    def __init__(self, preprocessing: Preprocessing, network: MLP) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        self.network = network
        shape = (network.out_features,)
        self.register_buffer("target_mean", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("target_scale", torch.ones(shape, dtype=torch.float64))
        self.register_buffer("scores", None)

    def fit_targets(self, targets: Tensor, weights: Tensor | None = None) -> None:
        """Fit the scale of a regression's targets to training rows: (N, T), by weights (N).

        Each quantile of a target has the target's scale.
        """
        if weights is not None:
            targets, weights = targets[weights > 0], weights[weights > 0].double()
        num_quantiles = self.network.out_features // targets.shape[1]
        self.target_mean, self.target_scale = (
            of_targets.repeat_interleave(num_quantiles)
            for of_targets in mean_and_scale(targets, weights)
        )

    def set_temperature(self, temperature: float) -> None:
        """Divide the logits by a temperature from now on."""
        self.target_scale = torch.full_like(self.target_scale, 1 / temperature)

    def fit_inputs(self, matrix: Tensor, weights: Tensor | None = None) -> None:
        """Fit the scales, then the bins of embedded numbers, to training rows: (N, V + K)."""
        self.preprocessing.fit(matrix, weights)
        inputs = self.network.inputs
        if inputs is not None and isinstance(inputs.numbers, PiecewiseLinearEmbedding):
            num_quantiles = inputs.numbers.num_entries + 1
            quantiles = self.preprocessing.quantiles(matrix, num_quantiles, weights)
            inputs.numbers.fit(quantiles[:, inputs.embedded].t())

    def standardise_targets(self, targets: Tensor) -> Tensor:
        """Return the scaled targets that a regression is trained on: (N, T) float64 -> float32."""
        step = self.network.out_features // targets.shape[1]
        return standardise(targets, self.target_mean[::step], self.target_scale[::step]).float()

    def forward(self, matrix: Tensor) -> Tensor:
        outputs: Tensor = self.network(self.preprocessing(matrix))
        return outputs.double() * self.target_scale + self.target_mean


def build_model(
    encoder: Encoder,
    preprocessing: PreprocessingConfig,
    model: MLPConfig,
    *,
    num_outputs: int,
    task: Task = "regression",
    seed: int = 0,
) -> TabularModel:
    """Build an untrained model of the encoder's columns, with preprocessing not yet fitted.

    `task` decides how the outputs of members are averaged.
    """
    scaling = Preprocessing(
        preprocessing,
        num_values=encoder.num_values,
        num_codes=len(encoder.cardinalities),
        indicated=[encoder.columns_of(name)[0] for name in encoder.may_be_missing],
        only_numbers=all(
            isinstance(f, NumericFeature | CategoricalFeature) for f in encoder.features
        ),
    )
    inputs = None
    if encoder.cardinalities or preprocessing.number_embedding is not None:
        inputs = InputLayer(
            preprocessing,
            num_values=scaling.out_features - len(encoder.cardinalities),
            cardinalities=encoder.cardinalities,
            numbers=encoder.number_indices,
        )
    network = MLP(
        model,
        in_features=scaling.out_features,
        out_features=num_outputs,
        inputs=inputs,
        average=AVERAGES[task],
        seed=seed,
    )
    return TabularModel(scaling, network)


def save_model(folder: Path, model: TabularModel, description: Description) -> Manifest:
    """Write `model.safetensors`, then `model.json` with its checksum.

    Equal models give equal bytes.
    """
    tensors = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    weights = save(tensors)
    digest = hashlib.sha256(weights).hexdigest()
    manifest = Manifest(**vars(description), weights_sha256=digest)
    write_atomically(folder / WEIGHTS, weights)
    write_atomically(folder / MANIFEST, manifest.model_dump_json(indent=2).encode())
    return manifest


def load_model(folder: Path) -> tuple[TabularModel, Manifest]:
    """Read what `save_model` wrote. Raises ModelError unless the weights match their checksum.

    The weights stay memory-mapped: processes that load the same model share its pages.
    """
    try:
        values = json.loads((folder / MANIFEST).read_bytes())
        first_version = values.get("format_version") == 1
        manifest = Manifest.model_validate_json(
            json.dumps(_second_version(values) if first_version else values)
        )
        with (folder / WEIGHTS).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != manifest.weights_sha256:
            raise ModelError("the weights do not match their checksum")
        model = build_model(
            manifest.encoder,
            manifest.preprocessing,
            manifest.model,
            num_outputs=manifest.num_outputs,
            task=manifest.task,
        )
        with safe_open(folder / WEIGHTS, framework="pt") as weights:
            tensors = {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118
        if manifest.calibration is not None and manifest.calibration.num_scores:
            model.scores = torch.empty_like(tensors["scores"])
        model.load_state_dict(_renamed(tensors) if first_version else tensors, assign=True)
    except (
        *(OSError, ValidationError, SafetensorError, RuntimeError),
        *(ValueError, AttributeError, KeyError, TypeError),  # from JSON that is not a manifest
    ) as error:
        raise ModelError(f"not a readable model: {error}") from error
    return model, manifest


def _second_version(manifest: dict[str, Any]) -> dict[str, Any]:
    """Convert a manifest of version 1, which had one target and no missing values."""
    values = dict(manifest)
    features = [
        {"type": "numeric", "name": name, "may_be_missing": False}
        for name in values.pop("features")
    ]
    return values | {
        "format_version": 2,
        "preprocessing": PreprocessingConfig().model_dump(),
        "encoder": {"features": features},
        "targets": [values.pop("target")],
    }


def _renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert the tensors of version 1 to the names of version 2."""
    renamed = dict(tensors)
    mean, scale = renamed.pop("feature_mean"), renamed.pop("feature_scale")
    shape = renamed["network.output.bias"].shape
    return renamed | {
        "preprocessing.fill": torch.zeros_like(mean),
        "preprocessing.indicated": torch.zeros(0, dtype=torch.int64),
        "preprocessing.scale.mean": mean,
        "preprocessing.scale.deviation": scale,
        "target_mean": renamed["target_mean"].expand(shape).clone(),
        "target_scale": renamed["target_scale"].expand(shape).clone(),
    }
