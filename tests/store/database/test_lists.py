"""A list is filtered and sorted by an index, and its pages hold each row once."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
from sqlalchemy import Connection, text, update
from sqlalchemy.dialects import sqlite

from store import datasets, ids, jobs, models
from store.access.keys import DEFAULT_TENANT
from store.database.engine import Database
from store.database.lists import listed
from store.database.tables import datasets as datasets_table
from store.database.tables import jobs as jobs_table
from store.database.tables import models as models_table
from tests.support.store_examples import TRAINED, cancel_job, new_dataset, new_job, remove_job, spec


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    with database.write() as connection:
        yield connection


def pages(connection: Connection, limit: int, **part: Any) -> list[list[str]]:
    """The ids of all pages of a list of jobs."""
    found: list[list[str]] = []
    after = None
    while page := jobs.page(connection, tenant=DEFAULT_TENANT, limit=limit, after=after, **part):
        found.append([job.id for job in page])
        after = page[-1].id
    return found


def test_pages_hold_each_row_once_in_both_orders(connection: Connection) -> None:
    new_job(connection, tenant="another")
    made = sorted(new_job(connection).id for _ in range(5))
    assert pages(connection, 2, oldest_first=True) == [made[:2], made[2:4], made[4:]]
    assert pages(connection, 3) == [made[:1:-1], made[1::-1]]


def test_a_page_goes_on_where_a_row_was_deleted(connection: Connection) -> None:
    first, second, third = sorted(new_job(connection).id for _ in range(3))
    cancel_job(connection, second)
    remove_job(connection, second)
    part: dict[str, Any] = {"tenant": DEFAULT_TENANT, "limit": 9, "after": second}
    assert [job.id for job in jobs.page(connection, **part)] == [first]
    assert [job.id for job in jobs.page(connection, **part, oldest_first=True)] == [third]


def test_jobs_are_filtered_by_what_they_are(connection: Connection) -> None:
    first = new_job(connection, "ds_1").id
    second = new_job(connection, "ds_2").id
    named = jobs.create(
        connection, spec("ds_2", name="second"), queue="cpu", tenant=DEFAULT_TENANT
    ).id
    cancel_job(connection, second)
    for part, expected in [
        ({"name": "second"}, [named]),
        ({"name": "first"}, [second, first]),
        ({"name": "First"}, []),
        ({"dataset_id": "ds_2"}, [named, second]),
        ({"dataset_id": "ds_2", "state": "queued"}, [named]),
        ({"dataset_id": "ds_2", "state": "queued", "name": "first"}, []),
    ]:
        newest_first = sorted(expected, reverse=True)  # ids of one millisecond have any order
        assert list(chain(*pages(connection, 1, **part))) == newest_first, part


def test_a_list_can_begin_at_a_time(connection: Connection) -> None:
    made = sorted(new_job(connection).id for _ in range(3))
    for job_id, hours in zip(made, (-3, 0, 0.5), strict=True):  # a clock may be hours wrong
        moved = jobs_table.c.created_at + hours * 3600
        connection.execute(
            update(jobs_table).where(jobs_table.c.id == job_id).values(created_at=moved)
        )
    exact = jobs.get(connection, made[1], tenant=DEFAULT_TENANT).created_at
    assert pages(connection, 9, created_from=exact) == [[made[2], made[1]]]
    assert pages(connection, 9, created_from=exact + 1) == [[made[2]]]
    assert pages(connection, 9, created_from=-1e9) == [made[::-1]]
    assert pages(connection, 9, created_from=2e11) == []


def test_datasets_and_models_have_names(connection: Connection) -> None:
    dataset = new_dataset(connection)
    model = models.create(connection, TRAINED, tenant=DEFAULT_TENANT, job_id="job_1", name="a/b")
    part: dict[str, Any] = {"tenant": DEFAULT_TENANT, "limit": 9, "after": None}
    listed = replace(dataset, columns=[])  # a list leaves them out
    assert datasets.page(connection, **part, name="flowers") == [listed]
    assert datasets.page(connection, **part, name="other") == []
    assert models.page(connection, **part, name="a/b") == [model]
    assert models.page(connection, **part, name="a") == []


@pytest.mark.parametrize("oldest_first", [False, True])
def test_no_list_is_sorted_or_read_whole(sqlite_url: str, oldest_first: bool) -> None:
    part: Any = {"limit": 9, "after": ids.new_id("job"), "oldest_first": oldest_first}
    queries = {
        "ix_datasets_tenant_id": listed(datasets_table, tenant="a", **part),
        "ix_datasets_tenant_name": listed(datasets_table, tenant="a", name="b", **part),
        "ix_models_tenant_name": listed(models_table, tenant="a", name="b", **part),
        "ix_jobs_tenant_id": listed(jobs_table, tenant="a", created_from=1e9, **part),
        "ix_jobs_tenant_name": listed(jobs_table, tenant="a", name="b", created_from=1e9, **part),
        "ix_jobs_tenant_state": listed(jobs_table, tenant="a", **part).where(
            jobs_table.c.state == "queued"
        ),
        "ix_jobs_dataset_id": listed(jobs_table, tenant="a", **part).where(
            jobs_table.c.dataset_id == "ds_1"
        ),
    }
    with closing(Database(sqlite_url)) as database, database.read() as connection:
        for index, query in queries.items():
            options = {"literal_binds": True}
            sql = str(query.compile(dialect=sqlite.dialect(), compile_kwargs=options))
            plan = [row.detail for row in connection.execute(text(f"EXPLAIN QUERY PLAN {sql}"))]
            assert len(plan) == 1, plan
            assert f"USING INDEX {index} " in plan[0]
