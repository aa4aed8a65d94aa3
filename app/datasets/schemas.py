"""A dataset on the wire."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from app.http.answers import Time
from dropout_core.data.columns import Column
from store.datasets import Dataset


class DatasetAnswer(BaseModel):
    """A table. `options` say how its file was read, `warnings` what its owner should know.

    A list leaves the `columns` out: they are null there."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "ds_01m7yfj0caymhw2pfr3q540p4y",
                "name": "iris",
                "format": "csv",
                "size_bytes": 4551,
                "sha256": "f74ee0ae1d2a9be8c4ba3d8cd1c9c4b3d6e1d0e2f4f5b6c7a8d9e0f1a2b3c4d5",
                "num_rows": 150,
                "columns": [
                    {
                        "name": "petal_length",
                        "type": "numeric",
                        "stored_as": "number",
                        "integral": False,
                        "num_missing": 0,
                        "num_distinct": 43,
                        "minimum": 1.0,
                        "maximum": 6.9,
                        "mean": 3.758,
                        "standard_deviation": 1.759,
                        "earliest": None,
                        "latest": None,
                        "top_values": [],
                    }
                ],
                "options": {
                    "delimiter": ",",
                    "quote": '"',
                    "encoding": "utf-8",
                    "header": True,
                    "missing": ["", "NA", "None"],
                    "lenient": [],
                },
                "warnings": [],
                "created_at": "2026-11-21T07:00:00.000Z",
            }
        }
    )

    id: str
    name: str
    format: str
    size_bytes: int
    sha256: str
    num_rows: int
    columns: list[Column] | None
    options: dict[str, Any]
    warnings: list[str]
    created_at: Time

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        return cls(**vars(dataset))

    @classmethod
    def listed(cls, dataset: Dataset) -> Self:
        return cls(**{**vars(dataset), "columns": None})


class RowsAnswer(BaseModel):
    """Rows of a dataset as they were understood: a missing value is null, a date RFC 3339.

    `rows` begin after `offset` rows, and each has a cell for each of `columns`. Text of more than
    200 characters is cut. `num_rows` counts all rows of the dataset.
    """

    columns: list[str]
    rows: list[list[bool | int | float | str | None]]
    offset: int
    num_rows: int
    has_more: bool
