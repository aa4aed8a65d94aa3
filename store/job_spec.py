"""A job as submitted: the data, the model and how to train it."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from dropout_core.config import (
    Config,
    MLPConfig,
    PreprocessingConfig,
    ProblemConfig,
    TableConfig,
    Task,
    TrainingConfig,
)

# PostgreSQL has no NUL in text.
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
MetadataKey = Annotated[str, Field(min_length=1, max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]


class _DatasetId(Config):
    id: str


class DatasetSpec(TableConfig, _DatasetId):  # the order of the bases puts `id` first in JSON
    """The dataset, which columns are its target and its features, and which rows are held out.

    - `target`: the column to predict, or several: labels (`multilabel`) or numbers.
    - `target_delimiter`: what stands between the labels in a column that lists them, such as `|` in
      `action|drama`. The target is then this one column, and the task is `multilabel`.
    - `features`: null means all columns that a network can use.
    - `types` overrides the types that the dataset has for its columns, by name.
    - `weight`: the column with the weight of each row in the training loss.
    """


class JobSpec(Config):
    """The job to run. Every field but `dataset` has a default."""

    name: Name | None = None
    dataset: DatasetSpec
    task: Literal["auto", Task] = "auto"
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    model: MLPConfig = MLPConfig()
    training: TrainingConfig = TrainingConfig()
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16, fail_fast=True)] = (
        Field({})
    )

    @classmethod
    def of_stored(cls, values: dict[str, Any]) -> Self:
        """Return the spec of a stored job, which means what it meant when it was submitted.

        In release 0.1 early stopping could watch the plain validation loss alone.
        """
        spec = cls.model_validate(values)
        stopping = spec.training.early_stopping
        if stopping is None or stopping.monitor is not None:
            return spec
        stopping = stopping.model_copy(update={"monitor": "validation_loss"})
        training = spec.training.model_copy(update={"early_stopping": stopping})
        return spec.model_copy(update={"training": training})

    @property
    def problem(self) -> ProblemConfig:
        """Return what is to be learned from the dataset's table, without the dataset's id."""
        table = {name: getattr(self.dataset, name) for name in TableConfig.model_fields}
        return ProblemConfig(**table, task=None if self.task == "auto" else self.task)
