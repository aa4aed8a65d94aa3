from functools import partial

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from store import models
from store.database import Database
from store.errors import ModelNotFound
from store.keys import DEFAULT_TENANT
from tests.store.examples import TRAINED

create = partial(models.create, tenant=DEFAULT_TENANT)
get = partial(models.get, tenant=DEFAULT_TENANT)
page = partial(models.page, tenant=DEFAULT_TENANT)
remove = partial(models.remove, tenant=DEFAULT_TENANT)


def test_a_model_reads_back_as_it_was_created(connection: Connection) -> None:
    model = create(connection, TRAINED, job_id="job_1", name=None)
    assert get(connection, model.id) == model
    facts = {name: getattr(model, name) for name in vars(TRAINED)}
    assert (model.job_id, model.name, facts) == ("job_1", None, vars(TRAINED))


def test_a_job_has_one_model_at_most(database: Database) -> None:
    with database.write() as connection:
        first = create(connection, TRAINED, job_id="job_1", name="first")
    with pytest.raises(IntegrityError), database.write() as connection:
        create(connection, TRAINED, job_id="job_1", name="second")
    with database.read() as connection:
        assert page(connection, limit=9, after=None) == [first]


def test_models_are_found_by_their_jobs(connection: Connection) -> None:
    first, second, _ = (
        create(connection, TRAINED, job_id=job_id, name=None) for job_id in ("a", "b", "c")
    )
    found = models.of_jobs(connection, ["a", "b", "without"])
    assert found == {"a": first.id, "b": second.id}
    assert models.of_jobs(connection, []) == {}


def test_a_page_is_newest_first_and_goes_on_after_an_id(connection: Connection) -> None:
    made = [create(connection, TRAINED, job_id=str(n), name=None) for n in range(3)]
    ids = sorted((model.id for model in made), reverse=True)
    first = [model.id for model in page(connection, limit=2, after=None)]
    rest = [model.id for model in page(connection, limit=2, after=first[-1])]
    assert first + rest == ids


def test_a_removed_model_is_gone(connection: Connection) -> None:
    model = create(connection, TRAINED, job_id="job_1", name=None)
    assert remove(connection, model.id) == model
    for ask in (get, remove):
        with pytest.raises(ModelNotFound):
            ask(connection, model.id)
