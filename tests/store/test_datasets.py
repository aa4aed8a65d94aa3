from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import Connection

from store import datasets, jobs, models
from store.access.keys import DEFAULT_TENANT
from store.database.engine import Database
from store.errors import DatasetInUse, DatasetNotFound
from store.jobs import Claim
from tests.support.concurrency import at_once, transaction
from tests.support.store_examples import TRAINED, cancel_job, claim, new_dataset, new_job

get = partial(datasets.get, tenant=DEFAULT_TENANT)
page = partial(datasets.page, tenant=DEFAULT_TENANT)
remove = partial(datasets.remove, tenant=DEFAULT_TENANT)


def test_a_dataset_reads_back_as_it_was_created(connection: Connection) -> None:
    dataset = new_dataset(connection)
    assert get(connection, dataset.id) == dataset
    assert dataset.size_bytes == 2**33
    assert dataset.columns == [{"name": "label", "kind": "category"}]
    assert dataset.options == {"delimiter": ";"}
    assert dataset.warnings == ["two columns were named 'a'"]


def test_an_unknown_dataset_is_not_found(connection: Connection) -> None:
    for ask in (get, remove):
        with pytest.raises(DatasetNotFound):
            ask(connection, "ds_unknown")


def test_a_page_is_newest_first_and_goes_on_after_an_id(connection: Connection) -> None:
    created = [new_dataset(connection) for _ in range(3)]
    ids = sorted((dataset.id for dataset in created), reverse=True)
    first = [dataset.id for dataset in page(connection, limit=2, after=None)]
    rest = [dataset.id for dataset in page(connection, limit=2, after=first[-1])]
    assert first + rest == ids
    newest = max(created, key=lambda dataset: dataset.id)
    assert page(connection, limit=1, after=None) == [replace(newest, columns=[])]


def test_a_removed_dataset_is_gone(connection: Connection) -> None:
    dataset = new_dataset(connection)
    assert remove(connection, dataset.id) == dataset
    with pytest.raises(DatasetNotFound):
        get(connection, dataset.id)


def test_a_dataset_cannot_be_removed_while_a_job_needs_it(connection: Connection) -> None:
    dataset = new_dataset(connection)
    job = new_job(connection, dataset.id)

    def is_needed() -> bool:
        with pytest.raises(DatasetInUse):
            remove(connection, dataset.id)
        return get(connection, dataset.id) == dataset

    assert is_needed()
    claim(connection, job.id)
    assert is_needed()
    cancel_job(connection, job.id)
    assert is_needed()
    jobs.cancelled(connection, Claim(job.id, 1))
    assert remove(connection, dataset.id) == dataset


def test_jobs_that_are_over_or_need_another_dataset_do_not_hold_it(connection: Connection) -> None:
    dataset, other = new_dataset(connection), new_dataset(connection)
    new_job(connection, other.id)
    cancel_job(connection, new_job(connection, dataset.id).id)
    assert remove(connection, dataset.id) == dataset


def test_a_model_outlives_its_dataset(connection: Connection) -> None:
    dataset = new_dataset(connection)
    job = claim(connection, new_job(connection, dataset.id).id)
    assert job is not None
    mine = Claim(job.id, job.attempt)
    jobs.succeed(connection, mine, reason="completed", trained=TRAINED)
    remove(connection, dataset.id)
    assert list(models.of_jobs(connection, [job.id])) == [job.id]


def test_no_job_is_accepted_for_a_dataset_that_is_being_removed(database: Database) -> None:
    def create_job(connection: Connection, dataset_id: str) -> jobs.Job:
        get(connection, dataset_id, lock=True)
        return new_job(connection, dataset_id)

    for _ in range(12):
        with database.write() as connection:
            dataset = new_dataset(connection)
        removed, *created = at_once(
            transaction(database, remove, dataset.id),
            *[transaction(database, create_job, dataset.id) for _ in range(3)],
        )
        if removed == dataset:
            assert [type(result) for result in created] == [DatasetNotFound] * 3
        else:
            assert isinstance(removed, DatasetInUse)
            assert [result.dataset_id for result in created] == [dataset.id] * 3
