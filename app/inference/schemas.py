"""Predictions and evaluations on the wire."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from dropout_core.config import Config

Value = bool | int | float | str


class PredictRequest(BaseModel):
    """Rows to predict: arrays in the order of the model's features, or objects by column name."""

    # The rows themselves are read by service.feature_rows, which can name the cell at fault.
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
            max_length=100_000,
            json_schema_extra={
                "items": {
                    "anyOf": [
                        {"type": "array", "items": {"type": ["number", "boolean"]}},
                        {
                            "type": "object",
                            "additionalProperties": {"type": ["number", "boolean"]},
                        },
                    ]
                }
            },
        ),
    ]


class PredictAnswer(BaseModel):
    """One prediction a row: the class or the value. `probabilities` are in `classes`' order."""

    model: str
    task: str
    predictions: list[Value]
    probabilities: list[list[float]] | None
    classes: list[Value] | None
    fingerprint: str


class EvaluateRequest(Config):
    """A dataset with the model's features and target."""

    dataset: str
