from functools import partial

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from dropout_core.model import saved_model
from store import model_names, models
from store.access.keys import DEFAULT_TENANT
from store.database.engine import Database
from store.errors import ModelAliased, ModelNotFound
from store.ids import new_id
from tests.support.concurrency import at_once, transaction
from tests.support.store_examples import TRAINED

create = partial(models.create, tenant=DEFAULT_TENANT)
get = partial(models.get, tenant=DEFAULT_TENANT)
page = partial(models.page, tenant=DEFAULT_TENANT)
remove = partial(models.remove, tenant=DEFAULT_TENANT)
resolve = partial(models.resolve, tenant=DEFAULT_TENANT)
repository = partial(models.repository, tenant=DEFAULT_TENANT)
set_served = partial(models.set_served, tenant=DEFAULT_TENANT)
set_alias = partial(model_names.set_alias, tenant=DEFAULT_TENANT)


def new_version(connection: Connection, name: str = "flowers") -> models.Model:
    return create(connection, TRAINED, job_id=new_id("job"), name=name)


def test_a_models_files_have_the_names_that_the_library_gives_them() -> None:
    assert (models.MANIFEST, models.WEIGHTS) == (saved_model.MANIFEST, saved_model.WEIGHTS)


def test_a_model_reads_back_as_it_was_created(connection: Connection) -> None:
    model = create(connection, TRAINED, job_id="job_1", name=None)
    assert get(connection, model.id) == model
    facts = {name: getattr(model, name) for name in vars(TRAINED)}
    assert (model.job_id, model.name, facts) == ("job_1", None, vars(TRAINED))
    assert (model.version, model.served) == (None, True)


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


def test_a_model_is_found_by_what_it_is_called(connection: Connection) -> None:
    first, second, third = (new_version(connection) for _ in range(3))
    assert resolve(connection, first.id) == first
    assert resolve(connection, "flowers@1") == first
    assert resolve(connection, "flowers") == third
    set_alias(connection, "flowers", "staging", version=1)
    assert resolve(connection, "flowers@staging") == first
    assert resolve(connection, "flowers") == third
    set_alias(connection, "flowers", "production", version=2)
    assert resolve(connection, "flowers") == resolve(connection, "flowers@production") == second


NOTHING = [
    *("", "@", "@1", "flower", "Flowers", "flowers@", "flowers@0", "flowers@01", "flowers@3"),
    *("flowers@-1", "flowers@1.0", "flowers@1 ", "flowers@²", "flowers@1@1", f"flowers@{10**9}"),
    *("flowers@production", "a/b", "a/b@1", "a/b@None", "mdl_unknown", "{id}@1", "{id}@staging"),
]


def test_nothing_is_found_by_another_reference(connection: Connection) -> None:
    model = new_version(connection)
    set_alias(connection, "flowers", "staging", version=1)
    new_version(connection, "a/b")
    for asked in (reference.format(id=model.id) for reference in NOTHING):
        with pytest.raises(ModelNotFound) as error:
            resolve(connection, asked)
        assert error.value.id == asked


def test_nothing_of_another_tenant_is_found_loaded_or_listed(connection: Connection) -> None:
    model = new_version(connection)
    set_alias(connection, "flowers", "production", version=1)
    for reference in (model.id, "flowers", "flowers@1", "flowers@production"):
        with pytest.raises(ModelNotFound):
            models.resolve(connection, reference, tenant="stranger")
        with pytest.raises(ModelNotFound):
            models.set_served(connection, reference, False, tenant="stranger")
    assert models.repository(connection, tenant="stranger") == []
    assert get(connection, model.id) == model


def test_the_newest_version_that_is_left_is_the_newest(connection: Connection) -> None:
    first, second = new_version(connection), new_version(connection)
    remove(connection, second.id)
    assert resolve(connection, "flowers") == first


def test_one_model_is_unloaded_and_loaded_by_its_id(connection: Connection) -> None:
    first, second = new_version(connection), new_version(connection)
    [changed] = set_served(connection, first.id, False)
    assert (changed.id, changed.name, changed.version) == (first.id, "flowers", 1)
    assert not changed.served
    assert not get(connection, first.id).served
    assert get(connection, second.id).served
    set_served(connection, first.id, False)
    [changed] = set_served(connection, first.id, True)
    assert changed.served
    assert get(connection, first.id) == first


def test_every_version_is_unloaded_by_its_name_but_not_those_to_come(
    connection: Connection,
) -> None:
    versions = [new_version(connection) for _ in range(2)]
    other = new_version(connection, "trees")
    changed = set_served(connection, "flowers", False)
    assert {entry.id for entry in changed} == {model.id for model in versions}
    assert [entry.served for entry in changed] == [False, False]
    assert get(connection, other.id).served
    assert new_version(connection).served


def test_what_is_neither_an_id_nor_a_name_is_not_loaded(connection: Connection) -> None:
    new_version(connection)
    new_version(connection, "a/b")
    set_alias(connection, "flowers", "production", version=1)
    for reference in ("flowers@1", "flowers@production", "a/b", "mdl_unknown"):
        with pytest.raises(ModelNotFound):
            set_served(connection, reference, False)
    assert all(entry.served for entry in repository(connection))


def test_names_are_loaded_and_unloaded_at_once(database: Database) -> None:
    with database.write() as connection:
        for _ in range(20):
            new_version(connection)
    for _ in range(5):
        wishes = [True, False] * 3
        changed = at_once(
            *[transaction(database, set_served, "flowers", served) for served in wishes]
        )
        assert [len(entries) for entries in changed] == [20] * 6
        with database.read() as connection:
            assert len({entry.served for entry in repository(connection)}) == 1


def test_an_index_tells_models_apart_newest_first(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = new_version(connection)
    unnamed = create(connection, TRAINED, job_id="job_1", name=None)
    set_served(connection, first.id, False)
    entries = [
        models.IndexEntry(first.id, "flowers", 1, served=False),
        models.IndexEntry(unnamed.id, None, None, served=True),
    ]
    newest_first = sorted(entries, key=lambda entry: entry.id, reverse=True)
    assert repository(connection) == newest_first
    monkeypatch.setattr(models, "MAX_INDEX_ENTRIES", 1)
    assert repository(connection) == newest_first[:1]


def test_a_model_that_an_alias_stands_for_cannot_be_removed(connection: Connection) -> None:
    first, second = new_version(connection), new_version(connection)
    set_alias(connection, "flowers", "production", version=1)
    with pytest.raises(ModelAliased, match="'flowers@production'"):
        remove(connection, first.id)
    assert get(connection, first.id) == first
    set_alias(connection, "flowers", "production", version=2)
    assert remove(connection, first.id) == first
    with pytest.raises(ModelAliased):
        remove(connection, second.id)


def test_no_alias_comes_to_stand_for_a_model_that_is_being_removed(database: Database) -> None:
    for _ in range(12):
        with database.write() as connection:
            kept, model = new_version(connection), new_version(connection)
            set_alias(connection, "flowers", "production", version=kept.version or 0)
        removed, *aliased = at_once(
            transaction(database, remove, model.id),
            *[
                transaction(database, set_alias, "flowers", alias, version=model.version)
                for alias in ("production", "staging")
            ],
        )
        with database.read() as connection:
            aliases = model_names.get(connection, "flowers", tenant=DEFAULT_TENANT)[0].aliases
        if removed == model:
            assert [type(result) for result in aliased] == [ModelNotFound] * 2
            assert aliases["production"] == kept.version
        else:
            assert isinstance(removed, ModelAliased)
            assert aliases["production"] in (kept.version, model.version)
            assert model.version in aliases.values()
            with database.write() as connection:
                for alias in aliases:
                    model_names.remove_alias(connection, "flowers", alias, tenant=DEFAULT_TENANT)
