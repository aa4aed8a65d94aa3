"""A job as it is asked for: which data, which model, how to train."""

from typing import Annotated, Literal

from pydantic import Field

from dropout_core.config import Config, MLPConfig, SplitConfig, TrainingConfig

# PostgreSQL has no NUL in text.
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
ColumnName = Annotated[str, Field(min_length=1, max_length=1000)]
MetadataKey = Annotated[str, Field(min_length=1, max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]


class DatasetSpec(Config):
    """Which columns of which dataset. `features` of null are all that a network can take."""

    id: str
    target: ColumnName
    features: (
        Annotated[tuple[ColumnName, ...], Field(strict=False, min_length=1, max_length=100_000)]
        | None
    ) = None
    split: SplitConfig = SplitConfig()


class JobSpec(Config):
    """What to train. Every field but `dataset` has a default."""

    name: Name | None = None
    dataset: DatasetSpec
    task: Literal["auto", "binary", "multiclass", "regression"] = "auto"
    model: MLPConfig = MLPConfig()
    training: TrainingConfig = TrainingConfig()
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16)] = Field({})
