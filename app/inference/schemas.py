"""Predictions, evaluations and importances on the wire."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.models.schemas import Value
from app.serving.instances import MAX_ROWS
from dropout_core.config import Config, Seed

_CELL = {"type": ["number", "string", "boolean", "null"]}


class MonteCarloDropout(Config):
    """How often to predict with dropout on, and by which masks: a function of the seed."""

    samples: Annotated[int, Field(ge=2, le=1_000)] = 100
    seed: Seed = 0


class PredictRequest(BaseModel):
    """Rows to predict: objects by column name, or arrays in the order of the model's features.

    An array may also have all columns of the table that the model was trained on, in its order, but
    for the targets. What a cell is in a file it is here; null, or an absent name, is missing.
    """

    # The rows themselves are read by the model's encoder, which can name the cell at fault.
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"instances": [[5.1, 3.5], [6.7, 3.1]]},
                {"instances": [{"petal_length": 5.1, "petal_width": 3.5}]},
            ]
        },
    )

    instances: Annotated[
        list[Any],
        Field(
            min_length=1,
            json_schema_extra={
                "maxItems": MAX_ROWS,
                "items": {
                    "anyOf": [
                        {"type": "array", "items": _CELL},
                        {"type": "object", "additionalProperties": _CELL},
                    ]
                },
            },
        ),
    ]
    missing: Literal["refuse", "impute"] = "refuse"
    mc_dropout: MonteCarloDropout | None = None


class Uncertainty(BaseModel):
    """What Monte-Carlo dropout says: (rows) x (classes, labels or targets), and (rows) in nats.

    `entropy` is the whole uncertainty of a row's classes, `mutual_information` the part of it that
    more data could take away; both are null of a regression.
    """

    mean: list[list[float]]
    standard_deviation: list[list[float]]
    entropy: list[float] | None
    mutual_information: list[float] | None


class PredictAnswer(BaseModel):
    """One prediction a row: the class or the value, or each target's by name if there are several.

    `probabilities` are in the order of `classes`; of several labels these are their names.
    `uncertainty` is there if it was asked for, and changes nothing beside it.
    """

    model: str
    task: str
    predictions: list[Value | dict[str, Value]]
    probabilities: list[list[float]] | None
    classes: list[Value] | None
    fingerprint: str
    uncertainty: Uncertainty | None = None


class EvaluateRequest(Config):
    """A dataset with the model's features and its target, or all of its targets."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"dataset": "ds_01m7yfj0caymhw2pfr3q540p4y"}]}
    )

    dataset: str


class ImportanceRequest(Config):
    """Which rows to measure on, in what, and how often to shuffle each feature.

    Without a `dataset` it is on the rows that the model's job held out, for its test if there were
    any. A `metric` of null is `accuracy`, or `r2` of a regression.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{}, {"dataset": "ds_01m7yfj0caymhw2pfr3q540p4y", "metric": "log_loss"}]
        }
    )

    dataset: str | None = None
    metric: str | None = None
    num_repeats: Annotated[int, Field(ge=1, le=100)] = 5
    seed: Seed = 0


class FeatureImportance(BaseModel):
    """By how much the metric got worse, over the repeats."""

    model_config = ConfigDict(from_attributes=True)

    feature: str
    mean: float
    standard_deviation: float


class ImportanceAnswer(BaseModel):
    """Permutation importances, the greatest first, in units of the metric.

    `baseline` is the metric with nothing shuffled, on `num_rows` rows; of many rows evenly spaced
    ones are taken.
    """

    model_config = ConfigDict(from_attributes=True)

    metric: str
    baseline: float
    num_rows: int
    features: list[FeatureImportance]
