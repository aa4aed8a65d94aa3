"""Predictions, evaluations and importances on the wire."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.models.schemas import Value
from app.serving.instances import MAX_ROWS
from dropout_core.config import Config, Seed

_CELL = {"type": ["number", "string", "boolean", "null"]}


class MonteCarloDropout(Config):
    """The number of predictions with dropout on; the seed decides the masks.

    A model without dropout is refused: its samples would all be equal, as if it were certain.
    """

    samples: Annotated[int, Field(ge=2, le=1_000)] = 100
    seed: Seed = 0


Policy = Literal["refuse", "impute"]
Missing = Annotated[
    Policy,
    Field(
        description="Whether a number, boolean or date that is missing is refused, where no row of "
        "the model's table missed one, or imputed as in training."
    ),
]


CoverageLevel = Annotated[
    float,
    Field(
        gt=0,
        lt=1,
        description="The probability with which the answer's `sets` of classes or `intervals` of "
        "values contain the truth. The model needs the scores that `training.calibrate` keeps.",
    ),
]


class PredictRequest(Config):
    """Rows to predict: objects by column name, or arrays in the order of the model's features.

    An array may also have all columns of the table that the model was trained on, in its order,
    without the targets. Where both have one length but different orders, arrays are refused. A cell
    means the same as in a file; null, or an absent name, is missing.
    """

    # The model's encoder reads the rows, and its errors name the cell.
    model_config = ConfigDict(
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
    missing: Missing = "refuse"
    mc_dropout: MonteCarloDropout | None = None
    level: CoverageLevel | None = None


class Uncertainty(BaseModel):
    """Statistics of Monte-Carlo dropout: (rows, classes, labels or targets), and (rows) in nats.

    `entropy` is the whole uncertainty of a row's class, `mutual_information` the part of it that
    more data could remove; both are null for a regression.
    """

    mean: list[list[float]]
    standard_deviation: list[list[float]]
    entropy: list[float] | None
    mutual_information: list[float] | None


Ends = Annotated[list[float], Field(min_length=2, max_length=2)]


class PredictAnswer(BaseModel):
    """One prediction a row: the class or the value, or an object of several targets by name.

    `probabilities` are in the order of `classes`, which are names for several labels.
    `uncertainty` is present if requested; it does not change the other fields. With a `level` there
    are `sets`, the classes that each row may have, possibly none, or `intervals`, the lower and the
    upper end for each row, or an object of them by name for several targets.

    A regression that predicts quantiles has them in `quantiles`, for each row in the order of
    `quantile_levels`, or an object by name for several targets. Its prediction is the one next to
    the median.
    """

    model: str
    task: str
    predictions: list[Value | dict[str, Value]]
    probabilities: list[list[float]] | None
    classes: list[Value] | None
    fingerprint: str
    uncertainty: Uncertainty | None = None
    quantiles: list[list[float] | dict[str, list[float]]] | None = None
    quantile_levels: list[float] | None = None
    sets: list[list[Value]] | None = None
    intervals: list[Ends | dict[str, Ends]] | None = None


class EvaluateRequest(Config):
    """A dataset with the model's features and its target, or all of its targets.

    Labels of a model that learned them from one column may be in that column or in their own.
    """

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"dataset": "ds_01m7yfj0caymhw2pfr3q540p4y"}]}
    )

    dataset: str
    missing: Missing = "refuse"


class ImportanceRequest(Config):
    """The rows to measure on, the metric, and the number of times to shuffle each feature.

    Without a `dataset` these are the rows that the model's job held out: its test rows or, if there
    are none, its validation rows. A `metric` of null is `accuracy`, or `r2` for a regression.
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
    missing: Missing = "refuse"


class FeatureImportance(BaseModel):
    """How much worse the metric got, over the repeats."""

    model_config = ConfigDict(from_attributes=True)

    feature: str
    mean: float
    standard_deviation: float


class ImportanceAnswer(BaseModel):
    """Permutation importances, the greatest first, in units of the metric.

    `baseline` is the metric with nothing shuffled, on `num_rows` rows; if the dataset has too many,
    they are evenly spaced in it.
    """

    model_config = ConfigDict(from_attributes=True)

    metric: str
    baseline: float
    num_rows: int
    features: list[FeatureImportance]
