"""The learning problem: what is learned from which columns and rows of a table."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from dropout_core.config.base import Config, Count, Fraction, Positive, Seed, added

Task = Literal["binary", "multiclass", "multilabel", "regression"]
FeatureType = Literal["numeric", "categorical", "boolean", "datetime", "text"]
ColumnType = Literal[FeatureType, "constant", "identifier"]
ColumnName = Annotated[str, Field(min_length=1, max_length=1000)]
Delimiter = Annotated[str, Field(min_length=1, max_length=8, pattern=r"^[^\x00]*$")]


class PeriodicConfig(Config):
    """Embed a number x as itself and a linear map of cos(2 pi w x + b), both learned (PBLD).

    The `frequencies` w are drawn from N(0, `sigma`^2), the phases b from [-pi, pi]. Each number
    becomes `dim` inputs. Holzmueller et al. 2024, section 3.
    """

    kind: Literal["periodic"]
    frequencies: Annotated[int, Field(ge=1, le=256)] = 16
    sigma: Positive = 0.1
    dim: Annotated[int, Field(ge=2, le=256)] = 4


class PiecewiseLinearConfig(Config):
    """Embed a number by a learned linear map of itself and of its position in each of its bins.

    A column has at most `bins` bins between quantiles of the training rows; each number becomes
    `dim` inputs. Gorishniy et al. 2022, section 3.2, and 2024.
    """

    kind: Literal["piecewise_linear"]
    bins: Annotated[int, Field(ge=2, le=256)] = 48
    dim: Annotated[int, Field(ge=1, le=256)] = 16


NumberEmbedding = Annotated[PeriodicConfig | PiecewiseLinearConfig, Field(discriminator="kind")]


class PreprocessingConfig(Config):
    """How feature values become inputs of the first layer. All of it is fitted on training rows.

    - Numbers and the parts of dates are scaled to `standard` (mean 0, variance 1), by `quantile` to
      a normal distribution, or to `minmax` (0 to 1). `pixels` divides them by 255, and `none` keeps
      them as they are. `unit` is `pixels` if all values are whole numbers from 0 to 255 and one is
      above 127, and `minmax` otherwise. `robust` subtracts the median, divides by the interquartile
      range (by half of the range if that is 0) and bounds the result smoothly to [-3, 3]. A column
      that is constant, up to rounding, is divided by 1. A missing value is replaced by the `impute`
      value. A column with missing values in training has one more input, which is 1 where the value
      is missing. Rows count by their weight.
    - `number_embedding`: each number and each part of a date becomes several learned inputs.
    - A column of up to `max_one_hot` categories is one-hot encoded. A column of more has a learned
      embedding (Guo and Berkhahn 2016) of `embedding_dim` numbers; the default is about
      1.6 * (number of categories) ** 0.56.
    - The `max_categories` most frequent categories are known, all others are one unknown category,
      and so are those of fewer training rows than `min_frequency`.
    - Training replaces known categories by the unknown one at random, at the rate `unknown_rate`,
      so the input for missing and unseen categories is trained too.
    - The words of a text are counted in `text_buckets` inputs by their hash (Weinberger et al.
      2009).
    """

    scale: Literal["standard", "robust", "quantile", "minmax", "pixels", "unit", "none"] = (
        "standard"
    )
    impute: Literal["mean", "median"] = "median"
    max_one_hot: Annotated[int, Field(ge=0, le=1000)] = 16
    max_categories: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    min_frequency: Count = added(1)
    embedding_dim: Annotated[int, Field(ge=1, le=1024)] | None = None
    embedding_dropout: Fraction = 0.0
    unknown_rate: Fraction = 0.01
    text_buckets: Annotated[int, Field(ge=1, le=4096)] = 128
    number_embedding: NumberEmbedding | None = added(None)


class SplitConfig(Config):
    """Which rows are held out for validation and test. The fractions are fractions of all rows.

    - `auto`: `stratified` for classes, `random` for other targets.
    - `random`: any rows.
    - `stratified`: each part has the same proportions of the classes, and the training rows have at
      least one row of each class.
    - `grouped`: rows with the same value of `column` are in the same part, so the model is never
      tested on a group that it was trained on.
    - `time`: the latest rows by `column` are held out, the very latest for the test.
    - `column`: `column` says `train`, `validation` or `test` for each row, and the fractions are
      ignored.

    `folds` adds a cross-validation: every row outside the test is held out once.
    """

    kind: Literal["auto", "random", "stratified", "grouped", "time", "column"] = "auto"
    column: str | None = Field(None, min_length=1, max_length=1000)
    validation: Fraction = 0.1
    test: Fraction = 0.1
    folds: Annotated[int, Field(ge=2, le=20)] | None = None
    seed: Seed = 0

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        if self.kind != "column" and self.validation + self.test >= 1:
            raise PydanticCustomError("split", "`validation` and `test` leave no rows to train on")
        if (self.kind in ("grouped", "time", "column")) != (self.column is not None):
            raise PydanticCustomError(
                "split_column",
                "the kinds `grouped`, `time` and `column` need a `column`, the others have none",
            )
        if self.kind == "column" and self.folds is not None:
            raise PydanticCustomError("folds", "a split by `column` has no `folds`")
        return self

    def settled(self, *, has_classes: bool) -> Self:
        """Return the same split with a kind other than `auto`."""
        if self.kind != "auto":
            return self
        return self.model_copy(update={"kind": "stratified" if has_classes else "random"})


class TableConfig(Config):
    """Which columns of a table are the target and the features, and which rows are held out.

    - `target`: the column to predict, or several: labels (`multilabel`) or numbers.
    - `target_delimiter`: what stands between the labels in a column that lists them, such as `|` in
      `action|drama`. The target is then this one column, and the task is `multilabel`.
    - `features`: null means all columns that a network can use.
    - `types` overrides the types that were inferred, by column name.
    - `weight`: the column with the weight of each row in the training loss.
    """

    target: Annotated[
        Annotated[ColumnName, Tag("one")]
        | Annotated[
            tuple[ColumnName, ...],
            Field(strict=False, min_length=1, max_length=1000, fail_fast=True),
            Tag("several"),
        ],
        # So that an error is about the form that was meant.
        Discriminator(lambda value: "one" if isinstance(value, str) else "several"),
    ]
    target_delimiter: Delimiter | None = added(None)
    features: (
        Annotated[
            tuple[ColumnName, ...],
            Field(strict=False, min_length=1, max_length=100_000, fail_fast=True),
        ]
        | None
    ) = None
    types: Annotated[dict[ColumnName, FeatureType], Field(max_length=100_000, fail_fast=True)] = (
        Field({})
    )
    weight: ColumnName | None = None
    split: SplitConfig = SplitConfig()


class ProblemConfig(TableConfig):
    """What is learned from a table: its columns, the rows that are held out, and the task.

    A task of None follows from the target.
    """

    task: Task | None = None

    @property
    def of_columns(self) -> dict[str, Any]:
        """Return the arguments of `data.selection.select`, for which each target is a column."""
        return {name: value for name, value in self if name != "target_delimiter"}
