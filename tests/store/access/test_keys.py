"""A key opens what its maker said, for as long as that, and cannot be told from what is stored."""

import base64
import sqlite3
from contextlib import closing

import pytest
from sqlalchemy import Connection, insert, update

from store.access import keys
from store.access.keys import ApiKey, Scope
from store.database.engine import Database
from store.database.tables import api_keys, database_now, metadata
from store.errors import KeyNotFound


def make(
    connection: Connection, *scopes: Scope, lifetime_seconds: float | None = None
) -> tuple[ApiKey, str]:
    return keys.create(
        connection,
        tenant="garden",
        name="for the test",
        scopes=scopes or (Scope.READ,),
        lifetime_seconds=lifetime_seconds,
    )


def secret_of(token: str) -> str:
    return token.split("_", 2)[2]


def test_a_token_opens_its_own_key(connection: Connection) -> None:
    first, token = make(connection)
    second, other = make(connection)
    assert keys.find(connection, token) == first
    assert keys.find(connection, other) == second
    assert (first.tenant, first.name, first.scopes) == ("garden", "for the test", ["read"])
    assert (first.expires_at, first.last_used_at, first.revoked_at) == (None, None, None)


def test_the_secret_is_256_random_bits(connection: Connection) -> None:
    secrets = [secret_of(make(connection)[1]) for _ in range(50)]
    bits = [base64.urlsafe_b64decode(f"{secret}=") for secret in secrets]
    assert {len(value) for value in bits} == {32}
    # Of a random bit, 50 draws agree with a probability of 2**-49; there are 256 of them.
    agreed = [bin(int.from_bytes(value)) for value in (_and(bits), _and(map(_not, bits)))]
    assert agreed == ["0b0", "0b0"]


def _and(values: "list[bytes] | map[bytes]") -> bytes:
    first, *others = values
    number = int.from_bytes(first)
    for value in others:
        number &= int.from_bytes(value)
    return number.to_bytes(32)


def _not(value: bytes) -> bytes:
    return bytes(255 - byte for byte in value)


def test_nothing_stored_holds_the_secret(sqlite_url: str) -> None:
    with closing(Database(sqlite_url)) as database, database.write() as connection:
        key, token = make(connection)
        keys.note_use(connection, key.id)
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as plain:
        dump = plain.serialize()
    assert key.id.encode() in dump
    secret = secret_of(token)
    raw = base64.urlsafe_b64decode(f"{secret}=")
    for form in (secret.encode(), raw, raw.hex().encode(), base64.b64encode(raw)):
        assert form not in dump


def test_no_table_holds_the_secret(connection: Connection) -> None:
    key, token = make(connection)
    everything = [
        tuple(row) for table in metadata.sorted_tables for row in connection.execute(table.select())
    ]
    assert key.id in repr(everything)
    assert secret_of(token) not in repr(everything)
    assert secret_of(token) not in repr(key)


def test_whoever_reads_the_table_cannot_call(connection: Connection) -> None:
    key, _ = make(connection)
    stored = connection.execute(api_keys.select()).mappings().one()["secret_sha256"]
    assert keys.find(connection, f"dsk_{key.id.removeprefix('key_')}_{stored}") is None


ODD = ["\0", "\ud800", "\udcff", "\U0001f511", "é", "x" * 1_000_000, "%", "_", "\n", "' OR 1=1 --"]


def test_a_token_with_anything_else_in_it_opens_nothing(connection: Connection) -> None:
    _, token = make(connection)
    prefix, name, secret = token.split("_", 2)
    for odd in ODD:
        wrong = [
            odd,
            odd + token,
            token + odd,
            f"{prefix}_{odd}_{secret}",
            f"{prefix}_{name}{odd}_{secret}",
            f"{prefix}_{name}_{odd}",
            f"{prefix}_{name}_{odd}{secret}",
            f"{odd}_{name}_{secret}",
        ]
        found = [keys.find(connection, guess) for guess in wrong]
        assert found == [None] * len(wrong), ascii(odd[:9])
        assert keys.find(connection, token) is not None


def test_a_token_is_good_as_a_whole_alone(connection: Connection) -> None:
    _, token = make(connection)
    assert not any(keys.find(connection, token[:length]) for length in range(len(token)))
    assert not any(keys.find(connection, token[start:]) for start in range(1, len(token)))


def test_one_keys_secret_does_not_open_another(connection: Connection) -> None:
    (_, first), (_, second) = make(connection), make(connection)
    _, name, _ = first.split("_", 2)
    assert keys.find(connection, f"dsk_{name}_{secret_of(second)}") is None


def test_letters_are_told_apart_by_case(connection: Connection) -> None:
    _, token = make(connection)
    for other in (token.upper(), token.lower(), token.swapcase()):
        assert keys.find(connection, other) is None


def test_a_revoked_key_opens_nothing_and_stays_revoked(connection: Connection) -> None:
    key, token = make(connection)
    revoked = keys.revoke(connection, key.id)
    assert revoked.revoked_at is not None
    assert keys.find(connection, token) is None
    connection.execute(update(api_keys).values(revoked_at=1.0))
    assert keys.revoke(connection, key.id).revoked_at == 1.0


def test_an_unknown_key_cannot_be_revoked(connection: Connection) -> None:
    _, token = make(connection)
    with pytest.raises(KeyNotFound):
        keys.revoke(connection, "key_unknown")
    assert keys.find(connection, token) is not None


def test_a_key_expires_by_the_clock_of_the_database(connection: Connection) -> None:
    key, token = make(connection, lifetime_seconds=60)
    assert keys.find(connection, token) == key
    assert key.expires_at == pytest.approx(key.created_at + 60)
    connection.execute(update(api_keys).values(expires_at=database_now() - 0.001))
    assert keys.find(connection, token) is None


def test_a_key_without_a_life_is_no_key(connection: Connection) -> None:
    _, token = make(connection, lifetime_seconds=0)
    assert keys.find(connection, token) is None


def test_scopes_are_kept_once_each_in_one_order(connection: Connection) -> None:
    key, _ = make(connection, Scope.ADMIN, Scope.READ, Scope.ADMIN)
    assert key.scopes == ["read", "admin"]


def test_the_last_use_is_noted_of_that_key_alone(connection: Connection) -> None:
    (used, _), (unused, _) = make(connection), make(connection)
    keys.note_use(connection, used.id)
    first, second = keys.all_keys(connection)
    assert first.id == used.id
    assert first.last_used_at is not None
    assert second == unused


def test_the_list_has_every_key_oldest_first(connection: Connection) -> None:
    made = [make(connection)[0] for _ in range(3)]
    # As made within one millisecond, or by a machine whose clock is behind.
    oldest = vars(made[0]) | {"id": "key_z", "created_at": 1.0, "secret_sha256": "0" * 64}
    connection.execute(insert(api_keys).values(**oldest))
    keys.revoke(connection, made[1].id)
    assert keys.all_keys(connection)[0].id == "key_z"
    assert {key.id for key in keys.all_keys(connection)[1:]} == {key.id for key in made}


def test_a_key_that_was_is_told_from_none_that_ever_was(connection: Connection) -> None:
    assert (keys.any_exist(connection), keys.any_valid(connection)) == (False, False)
    key, _ = make(connection)
    assert (keys.any_exist(connection), keys.any_valid(connection)) == (True, True)
    keys.revoke(connection, key.id)
    assert (keys.any_exist(connection), keys.any_valid(connection)) == (True, False)
    make(connection, lifetime_seconds=0)
    assert not keys.any_valid(connection)
