"""The errors of the prediction engine; app/http/errors.py has their statuses."""

from collections.abc import Sequence

from dropout_core.errors import DataError

FEATURES_TOO_LARGE = "the features are too large to compute with"


class ServingError(Exception):
    """Base of the errors below."""


class QueueFull(ServingError):
    """Too many rows wait for their predictions."""

    def __init__(self) -> None:
        super().__init__("the prediction queue is full; try again")


class ModelLoading(ServingError):
    """The model takes longer to load than a request waits."""

    def __init__(self, model_id: str) -> None:
        super().__init__("the model is being loaded; try again")
        self.model_id = model_id


class TooManyRows(ServingError):
    """The request has more rows than the limit; `tensor` names the input that has them."""

    def __init__(self, num_rows: int, *, limit: int, tensor: str | None = None) -> None:
        where = "" if tensor is None else f"input {tensor!r}: "
        super().__init__(f"{where}a request may have {limit} rows, this has {num_rows}")
        self.num_rows = num_rows
        self.limit = limit


class AnswerTooLarge(ServingError):
    """The predictions of all rows have more numbers than one answer may have."""

    def __init__(self, num_rows: int, *, num_outputs: int, limit: int) -> None:
        detail = f"an answer may have {limit} numbers; {num_rows} rows have {num_outputs} each"
        super().__init__(detail)
        self.num_rows = num_rows
        self.num_outputs = num_outputs
        self.limit = limit


class InvalidInstance(ServingError):
    """A row of JSON cannot be used.

    `index` counts rows from 0; `cell` is the index in an array or the name in an object. Each is
    None if the error concerns more than one row or cell.
    """

    def __init__(
        self, detail: str, *, index: int | None = None, cell: int | str | None = None
    ) -> None:
        super().__init__(detail)
        self.index = index
        self.cell = cell


class UnusableDataset(ServingError):
    """The model cannot be scored on the dataset. Base of the errors that say why."""


class UnknownDataset(UnusableDataset):
    """There is no such dataset, or its table is deleted."""

    def __init__(self, dataset_id: str) -> None:
        super().__init__(f"there is no dataset {dataset_id!r}")
        self.dataset_id = dataset_id


class DatasetMisfit(UnusableDataset):
    """A column or a cell does not fit the model; `error` says which."""

    def __init__(self, error: DataError) -> None:
        super().__init__(f"the dataset does not fit the model: {error}")
        self.error = error


class TooManyScores(UnusableDataset):
    """All rows together have more outputs than scoring can keep."""

    def __init__(self, num_rows: int, *, num_outputs: int) -> None:
        super().__init__(f"{num_rows} rows are too many to score {num_outputs} outputs of each")
        self.num_rows = num_rows
        self.num_outputs = num_outputs


class NoTarget(UnusableDataset):
    """No row has a value of the target."""

    def __init__(self) -> None:
        super().__init__("no row of the dataset has a value of the target")


class OutputsNotFinite(UnusableDataset):
    """The features are so large that no metric is defined."""

    def __init__(self) -> None:
        super().__init__(FEATURES_TOO_LARGE)


class NothingHeldOut(UnusableDataset):
    """The model's job trained on every row of its dataset."""

    def __init__(self) -> None:
        super().__init__("the model's job held no rows out: give a `dataset`")


class HeldOutRowsGone(ServingError):
    """The job that held rows out, or its dataset, is deleted; `missing` says which."""

    def __init__(self, missing: Exception) -> None:
        detail = f"the rows that the job held out are deleted ({missing}): give a `dataset`"
        super().__init__(detail)
        self.missing = missing


class InvalidMetric(ServingError):
    """The model cannot be measured in that metric. Base of the errors that say why."""


class UnknownMetric(InvalidMetric):
    """The task has no such metric; `known` are its metrics."""

    def __init__(self, metric: str, *, known: Sequence[str]) -> None:
        super().__init__(f"this model has no metric {metric!r}; it has {', '.join(known)}")
        self.metric = metric
        self.known = known


class UndefinedMetric(InvalidMetric):
    """The metric is undefined for these rows."""

    def __init__(self, metric: str) -> None:
        super().__init__(f"{metric} is undefined for these rows")
        self.metric = metric


class TooManyRepeats(ServingError):
    """Shuffling every feature that many times would take too long."""

    def __init__(self, num_repeats: int, *, num_features: int) -> None:
        detail = f"shuffling {num_features} features {num_repeats} times would take too long"
        super().__init__(f"{detail} with a model of this size: use fewer repeats")
        self.num_repeats = num_repeats
        self.num_features = num_features
