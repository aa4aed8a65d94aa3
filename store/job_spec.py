"""The specification of a job: the data, the model and the training."""

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
    """The dataset, its columns and their types, and the rows that are held out.

    - `target`: the column to predict, or several: independent labels (`multilabel`), or numbers.
    - `features`: null means every column that can be encoded.
    - `types` override the dataset's feature types, by column name.
    - `weight` names the column with the rows' weights in training.
    """

    id: str
    target: Annotated[
        Annotated[ColumnName, Tag("one")]
        | Annotated[
            tuple[ColumnName, ...],
            Field(strict=False, min_length=1, max_length=1000),
            Tag("several"),
        ],
        # The discriminator limits an error to the variant that was sent.
        Discriminator(lambda value: "one" if isinstance(value, str) else "several"),
    ]
    features: (
        Annotated[
            tuple[ColumnName, ...],
            # One error is enough: there can be a hundred thousand.
            Field(strict=False, min_length=1, max_length=100_000, fail_fast=True),
        ]
        | None
    ) = None
    types: Annotated[dict[ColumnName, FeatureType], Field(max_length=100_000)] = Field({})
    weight: ColumnName | None = None
    split: SplitConfig = SplitConfig()


class JobSpec(Config):
    """The job to run. Every field but `dataset` has a default."""

    name: Name | None = None
    dataset: DatasetSpec
    task: Literal["auto", Task] = "auto"
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    model: MLPConfig = MLPConfig()
    training: TrainingConfig = TrainingConfig()
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)] = Field({})
