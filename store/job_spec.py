"""A job as submitted: the data, the model and how to train it."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError, to_json

from dropout_core.config import (
    Config,
    Goal,
    MLPConfig,
    PreprocessingConfig,
    Preset,
    ProblemConfig,
    SweepConfig,
    TableConfig,
    Task,
    TrainingConfig,
    added,
)
from dropout_core.config.presets import given_by

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


_OF_ANY_NETWORK = {"seed", "device", "max_runtime_seconds"}


class JobSpec(Config):
    """The job to run. Every field but `dataset` has a default.

    - `preset` says what the fields of `preprocessing`, `model` and `training` are that the job
      leaves out. Without a name it is `default` for a job that gives none of them but the `seed`,
      the `device` and `max_runtime_seconds` of `training`, and `plain` for all others.
    - `optimise_for` decides what early stopping watches, how labels are smoothed and the loss of a
      regression, each where the job does not give it.
    - `tune` makes the job a sweep, which searches for the best values of some of its fields. The
      job waits for the sweep, ends as it does, and its model is that of the winner.
    """

    name: Name | None = None
    # Stored jobs without one are `plain`, and are written as they were.
    preset: Preset | None = Field(None, exclude_if=lambda value: value in (None, "plain"))
    optimise_for: Goal | None = added(None)
    dataset: DatasetSpec
    task: Literal["auto", Task] = "auto"
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    model: MLPConfig = MLPConfig()
    training: TrainingConfig = TrainingConfig()
    metadata: Annotated[dict[MetadataKey, MetadataValue], Field(max_length=16, fail_fast=True)] = (
        Field({})
    )
    tune: SweepConfig | None = added(None)

    @field_validator("model", mode="before")
    @classmethod
    def _layers_of_several_dropouts(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse a list of dropouts for layers that only the preset knows."""
        is_list = isinstance(value, dict) and isinstance(value.get("hidden_dropout"), list)
        if is_list and "hidden" not in value and info.data.get("preset") not in (None, "plain"):
            raise PydanticCustomError(
                "layers", "a list of dropouts needs `hidden`: the layers that they are for"
            )
        return value

    @classmethod
    def of_stored(cls, values: dict[str, Any]) -> Self:
        """Return the spec of a stored job, which means what it meant when it was submitted.

        In release 0.1 early stopping could watch the plain validation loss alone, and every job had
        what the preset `plain` stands for.
        """
        spec = cls.model_validate({"preset": "plain", **values})
        stopping = spec.training.early_stopping
        if stopping is None or stopping.monitor is not None:
            return spec
        stopping = stopping.model_copy(update={"monitor": "validation_loss"})
        training = spec.training.model_copy(update={"early_stopping": stopping})
        return spec.model_copy(update={"training": training})

    def naming_monitor(self) -> Self:
        """Return the job with what early stopping watches by default: stored jobs name it."""
        stopping = self.training.early_stopping
        if stopping is None or stopping.monitor is not None:
            return self
        named = stopping.model_copy(update={"monitor": "loss"})
        training = self.training.model_copy(update={"early_stopping": named})
        return self.model_copy(update={"training": training})

    @property
    def preset_in_force(self) -> Preset:
        """Return the preset that the job names or, if it names none, the one that it means."""
        if self.preset is not None:
            return self.preset
        training = self.training.model_fields_set - _OF_ANY_NETWORK
        given = self.preprocessing.model_fields_set | self.model.model_fields_set | training
        return "plain" if given else "default"

    @property
    def as_asked(self) -> bytes:
        """Return what the job asks for: equal bytes mean the same job.

        With a preset, a field that is left out may differ from one that is given at its default.
        """
        if self.preset_in_force == "plain":
            return self.model_dump_json().encode()
        return to_json(given_by(self))

    @property
    def problem(self) -> ProblemConfig:
        """Return what is to be learned from the dataset's table, without the dataset's id."""
        table = {name: getattr(self.dataset, name) for name in TableConfig.model_fields}
        return ProblemConfig(**table, task=None if self.task == "auto" else self.task)
