"""Small models, for tests that save, load and serve them."""

from typing import Any

import polars as pl
import torch
from torch import Generator, Tensor, nn

from dropout_core.config import (
    MLPConfig,
    PeriodicConfig,
    PiecewiseLinearConfig,
    PreprocessingConfig,
    ProblemConfig,
    Task,
    TrainingConfig,
)
from dropout_core.data.encoder import Encoder
from dropout_core.model.conformal import num_pairs
from dropout_core.model.saved_model import Calibration, Description, TabularModel, build_model
from dropout_core.nn.activations import ParametricActivation
from dropout_core.nn.layers import InputScaling
from dropout_core.nn.mlp import Linear
from dropout_core.pipeline.resolved_table import resolve_table
from dropout_core.pipeline.tabular_run import TabularRun

NUMBER_EMBEDDINGS = (
    None,
    PeriodicConfig(kind="periodic", frequencies=5),
    PiecewiseLinearConfig(kind="piecewise_linear", bins=7, dim=3),
)
WORDS = tuple(f"word {index:02}" for index in range(30))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def feature_names(num_features: int) -> list[str]:
    return [f"feature {index}" for index in range(num_features)]


def numbers(rows: Tensor) -> pl.DataFrame:
    """Return rows (N, F) as a data frame."""
    return pl.DataFrame(rows.numpy(), schema=feature_names(rows.shape[1]), orient="row")


def make_model(
    *,
    num_features: int = 5,
    num_classes: int | None = 3,
    categories: bool = False,
    targets: tuple[str, ...] = ("target",),
    task: Task | None = None,
    preprocessing: PreprocessingConfig | None = None,
    calibration: Calibration | None = None,
    quantiles: tuple[float, ...] | None = None,
    **config: Any,
) -> tuple[TabularModel, Description]:
    """A model with scales, biases and batch statistics that are not those of a fresh one.

    With `categories`, its first feature has holes, and two features of words, few and many, follow.
    With a `calibration` it has as many scores, from near 0 to near 1.
    """
    preprocessing = preprocessing or PreprocessingConfig()
    rows = 10 + 3 * normal(50, num_features)
    frame, types = numbers(rows), dict.fromkeys(feature_names(num_features), "numeric")
    if categories:
        first = pl.col("feature 0")
        frame = frame.with_columns(
            pl.when(first > 12).then(None).otherwise(first).alias("feature 0"),
            pl.Series("few", [WORDS[index % 3] for index in range(50)]),
            pl.Series("many", [WORDS[index % 30] for index in range(50)]),
        )
        types |= {"few": "categorical", "many": "categorical"}
    encoder = Encoder.fit(frame, types, preprocessing)
    if task is None:
        task = "regression" if not num_classes else "binary" if num_classes == 2 else "multiclass"
    classes = tuple(f"class {index}" for index in range(num_classes)) if num_classes else None
    if task == "multilabel":
        classes = targets
    chosen = MLPConfig(**{"hidden": (7,), **config})
    num_targets = len(targets if classes is None else classes)
    num_outputs = num_targets * len(quantiles or (0.5,))
    model = build_model(encoder, preprocessing, chosen, num_outputs=num_outputs, task=task)
    model.fit_inputs(torch.from_numpy(encoder.encode(frame)))
    if task == "regression":
        model.fit_targets(100 + 20 * normal(50, num_targets, seed=1))
    if calibration is not None and task != "regression":
        model.set_temperature(calibration.temperature)
    if calibration is not None and calibration.num_scores:
        shares = torch.arange(1, calibration.num_scores + 1).double() / (calibration.num_scores + 1)
        width = num_targets * num_pairs(quantiles) if task == "regression" else 1
        model.scores = shares[:, None].repeat(1, width)
    stream = Generator().manual_seed(2)
    for module in model.modules():
        if isinstance(module, Linear) and module.bias is not None:
            nn.init.normal_(module.bias, generator=stream)
        if isinstance(module, ParametricActivation):
            nn.init.uniform_(module.mix, 0.5, 1.0, generator=stream)
        if isinstance(module, InputScaling):
            nn.init.uniform_(module.weight, 0.5, 2.0, generator=stream)
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.running_mean, generator=stream)
            nn.init.uniform_(module.running_var, 0.5, 2.0, generator=stream)
    description = Description(
        task=task,
        model=chosen,
        preprocessing=preprocessing,
        encoder=encoder,
        targets=targets,
        classes=classes,
        trained_on="somewhere",
        calibration=calibration,
        quantiles=quantiles,
    )
    return model, description


def tabular_run(
    frame: pl.DataFrame,
    *,
    preprocessing: PreprocessingConfig | None = None,
    model: MLPConfig | None = None,
    training: TrainingConfig | None = None,
    **problem: Any,
) -> TabularRun:
    """Return an untrained run; `problem` are the fields of its ProblemConfig."""
    return TabularRun(
        resolve_table(frame, ProblemConfig(**problem)),
        preprocessing=preprocessing,
        model=model,
        training=training,
    )
