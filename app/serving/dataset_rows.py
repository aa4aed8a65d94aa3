"""The rows of stored datasets that a model is scored on."""

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl
from sqlalchemy import Connection

from app.serving.errors import HeldOutRowsGone, UnknownDataset
from dropout_core.config import SplitConfig
from dropout_core.data.by_name import exactly
from dropout_core.model.saved_model import Description
from store import datasets, jobs
from store.artifacts.artifact_store import ArtifactStore
from store.datasets import Dataset
from store.errors import DatasetNotFound, JobNotFound
from store.job_spec import JobSpec
from store.models import Model


@dataclass(frozen=True)
class DatasetRows:
    """All rows of a dataset or, with a `split`, those that it holds out."""

    dataset: Dataset
    split: SplitConfig | None


def find_rows(transaction: Connection, model: Model, dataset_id: str | None) -> DatasetRows:
    """Return the rows of the dataset or, without one, the rows that the model's job held out.

    Raises UnknownDataset, and HeldOutRowsGone if the job or its dataset is deleted.
    """
    if dataset_id is not None:
        try:
            return DatasetRows(datasets.get(transaction, dataset_id, tenant=model.tenant), None)
        except DatasetNotFound as error:
            raise UnknownDataset(dataset_id) from error
    try:
        spec = JobSpec.model_validate(jobs.get(transaction, model.job_id, tenant=model.tenant).spec)
        dataset = datasets.get(transaction, spec.dataset.id, tenant=model.tenant)
    except (JobNotFound, DatasetNotFound) as error:
        raise HeldOutRowsGone(error) from error
    return DatasetRows(dataset, spec.dataset.split)


def scan_rows(
    artifacts: ArtifactStore, rows: DatasetRows, description: Description
) -> pl.LazyFrame:
    """Return the dataset's columns that the model or the split needs.

    Raises the errors of `find_rows` if the dataset was deleted meanwhile.
    """
    columns = {*description.features, *description.known_targets}
    if rows.split is not None and rows.split.column is not None:
        columns.add(rows.split.column)
    try:
        return scan(artifacts, rows.dataset, columns=columns)
    except DatasetNotFound as error:
        if rows.split is not None:
            raise HeldOutRowsGone(error) from error
        raise UnknownDataset(rows.dataset.id) from error


def scan(artifacts: ArtifactStore, dataset: Dataset, *, columns: Collection[str]) -> pl.LazyFrame:
    """Return the dataset's table with the columns that it has among `columns`.

    It can be read repeatedly, even if the dataset is deleted meanwhile. Raises DatasetNotFound if
    the table is deleted.
    """
    try:
        # An open file outlives its name, and polars keeps it open.
        with artifacts.fetch(dataset.artifact).open("rb") as file:
            table = pl.scan_parquet(file)
    except FileNotFoundError as error:
        raise DatasetNotFound(dataset.id) from error
    wanted = set(columns)
    return table.select(exactly(*(n for n in table.collect_schema().names() if n in wanted)))
