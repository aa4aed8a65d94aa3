"""API keys: each belongs to a tenant and has scopes.

A token is `dsk_<id>_<secret>`. The secret has 256 random bits and is shown once. The row stores
only its SHA-256. A slow hash protects secrets that can be guessed; this one cannot.
"""

import hashlib
import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, exists, insert, select, update

from store.database.tables import api_keys, database_now
from store.errors import KeyNotFound
from store.ids import new_id


class Scope(StrEnum):
    """A permission of a key: read; upload, submit, delete; predict; or all of these and metrics."""

    READ = "read"
    TRAIN = "train"
    PREDICT = "predict"
    ADMIN = "admin"


DEFAULT_TENANT = "default"
"""The tenant that owns everything while there are no keys."""

TENANT = r"[a-z0-9][a-z0-9._-]{0,62}"
"""The pattern of a tenant's name."""

_SECRET_BYTES = 32
_PREFIX = "dsk"


@dataclass(frozen=True)
class ApiKey:
    """A row of the table without the digest of the secret. Times in Unix seconds."""

    id: str
    tenant: str
    name: str
    scopes: list[str]
    created_at: float
    expires_at: float | None
    last_used_at: float | None
    revoked_at: float | None


_COLUMNS = [api_keys.c[name] for name in ApiKey.__dataclass_fields__]


def create(
    connection: Connection,
    *,
    tenant: str,
    name: str,
    scopes: Collection[Scope],
    lifetime_seconds: float | None = None,
) -> tuple[ApiKey, str]:
    """Store a new key, and return it with its token, which is not stored."""
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    now = database_now()
    query = (
        insert(api_keys)
        .values(
            id=new_id("key"),
            tenant=tenant,
            name=name,
            scopes=[scope for scope in Scope if scope in scopes],
            secret_sha256=_sha256(secret),
            created_at=now,
            expires_at=None if lifetime_seconds is None else now + lifetime_seconds,
        )
        .returning(*_COLUMNS)
    )
    key = ApiKey(**connection.execute(query).mappings().one())
    return key, f"{_PREFIX}_{key.id.partition('_')[2]}_{secret}"


def find(connection: Connection, token: str) -> ApiKey | None:
    """Return the key of a token if it is valid: neither revoked nor expired; otherwise None."""
    prefix, _, rest = token.partition("_")
    name, _, secret = rest.partition("_")
    if prefix != _PREFIX or not (name.isascii() and name.isalnum()):
        return None
    query = select(*_COLUMNS, api_keys.c.secret_sha256).where(
        api_keys.c.id == f"key_{name}", _is_valid()
    )
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    values: dict[str, Any] = dict(row)
    is_correct = hmac.compare_digest(values.pop("secret_sha256"), _sha256(secret))
    return ApiKey(**values) if is_correct else None


def any_valid(connection: Connection) -> bool:
    """Return whether any key is valid."""
    return bool(connection.execute(select(exists().where(_is_valid()))).scalar())


def any_exist(connection: Connection) -> bool:
    """Return whether any key was ever made, valid or not: from then on a request needs a key."""
    return bool(connection.execute(select(exists(api_keys.select()))).scalar())


def all_keys(connection: Connection) -> list[ApiKey]:
    """Return every key, oldest first, including revoked and expired keys."""
    query = select(*_COLUMNS).order_by(api_keys.c.created_at, api_keys.c.id)
    return [ApiKey(**row) for row in connection.execute(query).mappings()]


def revoke(connection: Connection, key_id: str) -> ApiKey:
    """Revoke a key for good; a second call changes nothing. Raises KeyNotFound."""
    this = api_keys.c.id == key_id
    query = update(api_keys).where(this, api_keys.c.revoked_at.is_(None))
    connection.execute(query.values(revoked_at=database_now()))
    row = connection.execute(select(*_COLUMNS).where(this)).mappings().one_or_none()
    if row is None:
        raise KeyNotFound(key_id)
    return ApiKey(**row)


def note_use(connection: Connection, key_id: str) -> None:
    """Record that the key was used now."""
    query = update(api_keys).where(api_keys.c.id == key_id).values(last_used_at=database_now())
    connection.execute(query)


def _is_valid() -> ColumnElement[bool]:
    expires_at = api_keys.c.expires_at
    return api_keys.c.revoked_at.is_(None) & (expires_at.is_(None) | (expires_at > database_now()))


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
