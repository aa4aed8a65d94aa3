"""A model with features of every type, and the inputs of its exports."""

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from dropout_core.config import MLPConfig, PreprocessingConfig
from dropout_core.data.encoder import Encoder
from dropout_core.data.features import DatetimeFeature, TextFeature
from dropout_core.export.check import Check
from dropout_core.model.predictor import Predictor
from dropout_core.model.saved_model import (
    Description,
    Manifest,
    TabularModel,
    build_model,
    load_model,
    save_model,
)
from tests.support.served_models import normal

TYPES = {
    "age": "numeric",
    "member": "boolean",
    "city": "categorical",
    "floor": "categorical",
    "since": "datetime",
    "note": "text",
    "prediction": "numeric",
    "pro/babilities": "categorical",
}


def every_kind(num_rows: int = 60) -> pl.DataFrame:
    """Rows with a hole in every third number and date, and names that outputs or nodes have."""
    cities = ["Bonn", "Oslo", "R\N{LATIN SMALL LETTER O WITH DIAERESIS}m", "", None]
    start = dt.datetime(2024, 1, 1, 12, 30)
    rows = range(num_rows)
    return pl.DataFrame(
        {
            "age": [None if row % 3 == 0 else 20 + row for row in rows],
            "member": [row % 2 == 0 for row in rows],
            "city": [cities[row % 5] for row in rows],
            "floor": [(row % 23) / 2 for row in rows],
            "since": [
                None if row % 3 == 1 else start + row * dt.timedelta(hours=7) for row in rows
            ],
            "note": [f"the {row} of {row % 4}, it is" for row in rows],
            "prediction": normal(num_rows, 1)[:, 0].numpy(),
            "pro/babilities": [["yes", "no"][row % 2] for row in rows],
        }
    )


def model_of_every_kind(**preprocessing: Any) -> tuple[TabularModel, Description]:
    config = PreprocessingConfig(text_buckets=8, **preprocessing)
    frame = every_kind()
    encoder = Encoder.fit(frame, TYPES, config)
    chosen = MLPConfig(hidden=(9,))
    model = build_model(encoder, config, chosen, num_outputs=2)
    model.fit_inputs(torch.from_numpy(encoder.encode(frame)))
    description = Description(
        task="binary",
        model=chosen,
        preprocessing=config,
        encoder=encoder,
        targets=("target",),
        classes=(False, True),
        trained_on="somewhere",
    )
    return model, description


def inputs_of(encoder: Encoder, frame: pl.DataFrame) -> dict[str, np.ndarray]:
    """Return the inputs of an ONNX file by feature, for features of several types."""
    inputs = {}
    for feature in encoder.features:
        column = frame[feature.name]
        match feature:
            case DatetimeFeature():
                inputs[feature.name] = np.column_stack(feature.values(column))
            case TextFeature():
                inputs[feature.name] = feature.values(column)
            case _ if feature.type == "categorical":
                words = column.cast(pl.String).str.strip_suffix(".0").fill_null("\N{SNOWMAN}")
                inputs[feature.name] = words.to_numpy().astype(object)[:, None]
            case _:
                inputs[feature.name] = column.cast(pl.Float64).to_numpy()[:, None]
    return inputs


class Kept:
    """Save a model to a folder and return it as an export loads it."""

    def __init__(self, folder: Path, model: TabularModel, description: Description) -> None:
        self.folder = folder
        save_model(folder, model, description)
        self.model: TabularModel
        self.manifest: Manifest
        self.model, self.manifest = load_model(folder)
        self.predictor = Predictor.load(folder)
        self.check = Check(self.model, self.manifest)
