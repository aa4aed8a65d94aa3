"""Datasets: a row that describes a table, and the table itself as an artifact."""

from dataclasses import dataclass
from typing import Any, Unpack

from sqlalchemy import Connection, delete, insert, select

from dropout_core.data.read_options import MISSING_WORDS
from dropout_core.data.reading import FIRST_MISSING_WORDS, Reading
from store.database.lists import Part, listed
from store.database.tables import database_now, datasets, jobs, sweeps
from store.errors import DatasetInUse, DatasetNotFound

ACTIVE = ("queued", "running", "paused", "cancelling")


@dataclass(frozen=True)
class Dataset:
    """A row of the table. `options` say how the file was read; `warnings` are for its owner."""

    id: str
    tenant: str
    name: str
    format: str
    size_bytes: int
    sha256: str
    num_rows: int
    columns: list[dict[str, Any]]
    options: dict[str, Any]
    warnings: list[str]
    artifact: str
    created_at: float

    @property
    def reading(self) -> Reading:
        """Return how its text was read. Text files of the first release do not tell their words."""
        formats = {c["name"]: c["format"] for c in self.columns if c.get("format") is not None}
        usual = FIRST_MISSING_WORDS if self.options else MISSING_WORDS
        missing = self.options.get("missing", usual)
        lenient = self.options.get("lenient", ())
        return Reading.model_validate({"formats": formats, "missing": missing, "lenient": lenient})


def create(connection: Connection, **values: Any) -> Dataset:
    """Insert a dataset whose artifact is stored. `values` are a Dataset's but `created_at`."""
    query = insert(datasets).values(created_at=database_now(), **values).returning(datasets)
    return Dataset(**connection.execute(query).mappings().one())


def get(connection: Connection, dataset_id: str, *, tenant: str, lock: bool = False) -> Dataset:
    """Return the dataset; with `lock`, nobody deletes it before the transaction ends.

    Raises DatasetNotFound, also for another tenant's dataset.
    """
    query = select(datasets).where(datasets.c.id == dataset_id, datasets.c.tenant == tenant)
    row = connection.execute(query.with_for_update() if lock else query).mappings().one_or_none()
    if row is None:
        raise DatasetNotFound(dataset_id)
    return Dataset(**row)


def page(connection: Connection, *, tenant: str, **part: Unpack[Part]) -> list[Dataset]:
    """Return a part of the tenant's datasets, newest first by default.

    Their `columns` are left out and empty: a page could have millions.
    """
    query = listed(datasets, tenant=tenant, **part)
    query = query.with_only_columns(*(c for c in datasets.columns if c.name != "columns"))
    return [Dataset(columns=[], **row) for row in connection.execute(query).mappings()]


def remove(connection: Connection, dataset_id: str, *, tenant: str) -> Dataset:
    """Delete the row; the caller deletes the artifact after the transaction.

    Raises DatasetNotFound, and DatasetInUse while an unfinished job or sweep needs the dataset.
    """
    dataset = get(connection, dataset_id, tenant=tenant, lock=True)
    for noun, table in (("sweep", sweeps), ("job", jobs)):
        needs_it = (table.c.dataset_id == dataset_id) & table.c.state.in_(ACTIVE)
        found = connection.execute(select(table.c.id).where(needs_it).limit(1)).scalar()
        if found is not None:
            raise DatasetInUse(dataset_id, f"{noun} {found!r}")
    connection.execute(delete(datasets).where(datasets.c.id == dataset_id))
    return dataset
