from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from store import jobs, model_names, models
from store.access.keys import DEFAULT_TENANT
from store.artifacts.local_folder import LocalArtifacts
from store.database.engine import Database
from store.database.tables import model_aliases
from store.database.tables import models as models_table
from store.errors import AliasNotFound, ModelNotFound, NameNotFound, QuotaExceeded
from store.ids import new_id
from store.jobs import Claim
from store.model_names import ModelName
from store.models import Model
from store.operations.backup import backup
from store.operations.restore import restore
from store.settings import Settings
from tests.support.concurrency import at_once, transaction
from tests.support.store_examples import TRAINED, claim, spec

get = partial(model_names.get, tenant=DEFAULT_TENANT)
page = partial(model_names.page, tenant=DEFAULT_TENANT)
remove_model = partial(models.remove, tenant=DEFAULT_TENANT)
set_alias = partial(model_names.set_alias, tenant=DEFAULT_TENANT)
remove_alias = partial(model_names.remove_alias, tenant=DEFAULT_TENANT)


def new_version(
    connection: Connection, name: str = "flowers", tenant: str = DEFAULT_TENANT
) -> Model:
    return models.create(connection, TRAINED, job_id=new_id("job"), name=name, tenant=tenant)


def aliases(connection: Connection, name: str = "flowers") -> dict[str, int]:
    return get(connection, name)[0].aliases


def versions(connection: Connection, name: str = "flowers") -> list[int]:
    return [version.version for version in get(connection, name)[1]]


# Versions


def test_the_models_of_a_name_are_its_versions(connection: Connection) -> None:
    assert [new_version(connection).version for _ in range(3)] == [1, 2, 3]
    assert new_version(connection, "trees").version == 1
    assert new_version(connection, tenant="other").version == 1
    assert versions(connection) == [3, 2, 1]


def test_no_version_comes_twice_not_even_of_models_that_are_gone(connection: Connection) -> None:
    for _ in range(2):
        remove_model(connection, new_version(connection).id)
    assert new_version(connection).version == 3
    assert versions(connection) == [3]


USABLE = [
    *("flowers", "a b", " ", "#1?", "100 %", "a+b&c=d", "naïve", "花", "🌷", "...", ".a", "a\\b"),
    *("MDL_1", "model", "1", "production", "x" * 200),
]
OTHERS = [
    *("", ".", "..", "a/b", "/", "a@b", "@", "mdl_1", "mdl_", "a\n", "\ta", "\x7f", "a\x85"),
    "x" * 201,
]


def test_a_name_that_a_path_can_hold_has_versions(connection: Connection) -> None:
    for name in USABLE:
        model = new_version(connection, name)
        assert model.version == 1, name
        assert models.resolve(connection, f"{name}@1", tenant=DEFAULT_TENANT) == model
        assert versions(connection, name) == [1]


def test_a_model_of_any_other_name_has_no_version(connection: Connection) -> None:
    for name in OTHERS:
        made = [new_version(connection, name) for _ in range(2)]
        assert [(model.name, model.version) for model in made] == [(name, None)] * 2
        with pytest.raises(NameNotFound):
            get(connection, name)
    assert page(connection, limit=9, after=None) == []


def test_jobs_of_one_name_that_end_at_once_all_succeed(database: Database) -> None:
    with database.write() as connection:
        claims = [running(connection) for _ in range(6)]
    ended = at_once(
        *[
            transaction(database, jobs.succeed, mine, reason="completed", trained=TRAINED)
            for mine in claims
        ]
    )
    assert [job.state for job in ended] == ["succeeded"] * 6
    with database.read() as connection:
        assert versions(connection) == [6, 5, 4, 3, 2, 1]


def running(connection: Connection) -> Claim:
    job = jobs.create(connection, spec(name="flowers"), queue="cpu", tenant=DEFAULT_TENANT)
    assert claim(connection, job.id) is not None
    return Claim(job.id, 1)


# Aliases


def test_an_alias_stands_for_one_version_and_then_for_another(connection: Connection) -> None:
    for _ in range(2):
        new_version(connection)
    set_alias(connection, "flowers", "production", version=1)
    set_alias(connection, "flowers", "staging", version=1)
    assert aliases(connection) == {"production": 1, "staging": 1}
    set_alias(connection, "flowers", "production", version=2)
    assert aliases(connection) == {"production": 2, "staging": 1}
    remove_alias(connection, "flowers", "staging")
    assert aliases(connection) == {"production": 2}


def test_an_alias_stands_for_nothing_that_is_not_there(connection: Connection) -> None:
    new_version(connection)
    new_version(connection, "a/b")
    new_version(connection, tenant="other")
    for name, version in [("flowers", 2), ("trees", 1), ("a/b", 1)]:
        with pytest.raises(ModelNotFound) as error:
            set_alias(connection, name, "production", version=version)
        assert error.value.id == f"{name}@{version}"
    with pytest.raises(ModelNotFound):
        model_names.set_alias(connection, "flowers", "x", version=1, tenant="stranger")
    assert aliases(connection) == {}


def test_an_alias_that_is_not_there_is_not_removed(connection: Connection) -> None:
    new_version(connection)
    set_alias(connection, "flowers", "production", version=1)
    with pytest.raises(AliasNotFound, match="flowers@staging"):
        remove_alias(connection, "flowers", "staging")
    with pytest.raises(AliasNotFound):
        model_names.remove_alias(connection, "flowers", "production", tenant="stranger")
    assert aliases(connection) == {"production": 1}


def test_the_database_itself_keeps_what_an_alias_stands_for(database: Database) -> None:
    with database.write() as connection:
        model = new_version(connection)
        set_alias(connection, "flowers", "production", version=1)
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(models_table.delete())
    with database.write() as connection:
        connection.execute(model_aliases.delete())
        assert remove_model(connection, model.id) == model


def test_an_alias_that_is_moved_at_once_ends_at_one_of_the_versions(database: Database) -> None:
    with database.write() as connection:
        for _ in range(4):
            new_version(connection)
    for _ in range(5):
        moved = at_once(
            *[
                transaction(database, set_alias, "flowers", "production", version=version)
                for version in (1, 2, 3, 4)
            ]
        )
        assert moved == [None] * 4
    with database.read() as connection:
        assert aliases(connection).keys() == {"production"}


def test_a_name_has_as_many_aliases_as_it_may(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_names, "MAX_ALIASES", 2)
    for _ in range(2):
        new_version(connection)
    for alias in ("a", "b"):
        set_alias(connection, "flowers", alias, version=1)
    with pytest.raises(QuotaExceeded, match="'flowers' has 2 aliases"):
        set_alias(connection, "flowers", "c", version=1)
    set_alias(connection, "flowers", "b", version=2)
    assert aliases(connection) == {"a": 1, "b": 2}


def test_models_know_the_aliases_that_stand_for_them(connection: Connection) -> None:
    first, second, other = (new_version(connection, name) for name in ("a", "a", "b"))
    for name, alias in [("a", "y"), ("a", "x"), ("b", "x")]:
        set_alias(connection, name, alias, version=1)
    found = model_names.aliases_of(connection, [first.id, second.id])
    assert found == {first.id: ["x", "y"], second.id: []}
    assert model_names.aliases_of(connection, [other.id]) == {other.id: ["x"]}
    assert model_names.aliases_of(connection, []) == {}


# Names


def test_a_page_has_names_that_have_models_and_goes_on_after_one(connection: Connection) -> None:
    for name in ("c", "a", "b", "a", "d", "a/b"):
        new_version(connection, name)
    new_version(connection, "e", tenant="other")
    set_alias(connection, "a", "production", version=1)
    gone = new_version(connection, "gone")
    remove_model(connection, gone.id)
    first = page(connection, limit=2, after=None)
    assert first == [ModelName("a", 2, {"production": 1}), ModelName("b", 1, {})]
    rest = page(connection, limit=9, after="b")
    assert [(name.name, name.latest_version) for name in rest] == [("c", 1), ("d", 1)]
    assert page(connection, limit=9, after="d") == []


def test_a_name_tells_of_its_newest_versions(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_names, "MAX_VERSIONS", 2)
    made = [new_version(connection) for _ in range(3)]
    set_alias(connection, "flowers", "production", version=1)
    models.set_served(connection, made[1].id, False, tenant=DEFAULT_TENANT)
    name, found = get(connection, "flowers")
    assert name == ModelName("flowers", 3, {"production": 1})
    assert [(v.model_id, v.version, v.served, v.created_at) for v in found] == [
        (made[2].id, 3, True, made[2].created_at),
        (made[1].id, 2, False, made[1].created_at),
    ]


def test_a_name_without_models_is_not_found(connection: Connection) -> None:
    new_version(connection, tenant="other")
    with pytest.raises(NameNotFound):
        get(connection, "flowers")
    remove_model(connection, new_version(connection).id)
    with pytest.raises(NameNotFound):
        get(connection, "flowers")


def test_a_restored_service_has_its_names_versions_and_aliases(
    tmp_path: Path, sqlite_template: Path
) -> None:
    here, there = (Settings(data_dir=tmp_path / name) for name in ("here", "there"))
    here.data_dir.mkdir()
    (here.data_dir / "dropout.db").write_bytes(sqlite_template.read_bytes())
    with closing(Database(here.database)) as database, database.write() as connection:
        for _ in range(2):
            new_version(connection)
        set_alias(connection, "flowers", "production", version=1)
        remove_model(connection, new_version(connection).id)
    backup(here, LocalArtifacts(here.artifact_root), tmp_path / "backup.tar")
    restore(there, tmp_path / "backup.tar")

    def everything(settings: Settings) -> list[Any]:
        with closing(Database(settings.database)) as database, database.write() as connection:
            return [*get(connection, "flowers"), new_version(connection).version]

    restored = everything(there)
    assert restored == everything(here)
    assert restored[-1] == 4
