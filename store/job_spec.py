"""A job as it is asked for: which data, which model, how to train."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from dropout_core.config import (
    Config,
    FeatureType,
    MLPConfig,
    PreprocessingConfig,
    SplitConfig,
    Task,
    TrainingConfig,
)

# PostgreSQL has no NUL in text.
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
ColumnName = Annotated[str, Field(min_length=1, max_length=1000)]
MetadataKey = Annotated[str, Field(min_length=1, max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]


class DatasetSpec(Config):
    """Which columns of which dataset, as what, and which of its rows are held out.

    - `target`: the column to predict, or several: labels of their own (`multilabel`), or numbers.
    - `features` of null are all that a network can make something of.
    - `types` overrule what the dataset says its columns are, by name.
    - `weight` names a column that weighs the rows in training.
    """

    id: str
    target: Annotated[
        Annotated[ColumnName, Tag("one")]
        | Annotated[
            tuple[ColumnName, ...],
            Field(strict=False, min_length=1, max_length=1000),
            Tag("several"),
        ],
        # An error is then about the one that was meant.
        Discriminator(lambda value: "one" if isinstance(value, str) else "several"),
    ]
    features: (
        Annotated[
            tuple[ColumnName, ...],
            # Of a hundred thousand errors one will do.
            Field(strict=False, min_length=1, max_length=100_000, fail_fast=True),
        ]
        | None
    ) = None
    types: Annotated[dict[ColumnName, FeatureType], Field(max_length=100_000)] = Field({})
    weight: ColumnName | None = None
    split: SplitConfig = SplitConfig()


class JobSpec(Config):
    """What to train. Every field but `dataset` has a default."""

    name: Name | None = None
    dataset: DatasetSpec
    task: Literal["auto", Task] = "auto"
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    model: MLPConfig = MLPConfig()
    training: TrainingConfig = TrainingConfig()
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)] = Field({})
