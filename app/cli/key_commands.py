"""`dropout-service keys`: API keys. These commands write to the service's database directly."""

import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from app.cli.terminal import DataDir, fail, say, say_table, settings_of
from store.access import keys
from store.access.keys import DEFAULT_TENANT, TENANT, ApiKey, Scope
from store.errors import KeyNotFound, NewerDatabase

DAY_SECONDS = 86400.0
MAX_DAYS = 36500
MAX_NAME = 100
ORDINARY = (Scope.READ, Scope.TRAIN, Scope.PREDICT)

cli = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")


def _tenant(value: str) -> str:
    if not re.fullmatch(TENANT, value):
        raise typer.BadParameter(
            "up to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit"
        )
    return value


def _name(value: str) -> str:
    if not (value.isprintable() and 1 <= len(value) <= MAX_NAME):  # a name has to fit on a line
        raise typer.BadParameter(f"1 to {MAX_NAME} characters that can be printed")
    return value


def _days(value: float | None) -> float | None:
    if value is not None and not 0 < value <= MAX_DAYS:
        raise typer.BadParameter(f"more than 0 and up to {MAX_DAYS}")
    return value


@cli.command()
def create(
    name: Annotated[
        str, typer.Argument(callback=_name, help="The purpose of the key, which `list` shows.")
    ],
    *,
    tenant: Annotated[
        str,
        typer.Option(callback=_tenant, help="The tenant that the key belongs to."),
    ] = DEFAULT_TENANT,
    scope: Annotated[
        list[Scope] | None,
        typer.Option(
            help="What the key allows; may be repeated: read reads, train uploads, submits and "
            "deletes, predict predicts, admin allows everything and /metrics. "
            "The default is read, train and predict."
        ),
    ] = None,
    days: Annotated[
        float | None,
        typer.Option(callback=_days, help="Days until it expires; never by default."),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it, only now. Once a key exists, every call needs one."""
    lifetime_seconds = None if days is None else days * DAY_SECONDS
    with _transaction(data_dir=data_dir, creates=True) as transaction:
        _, token = keys.create(
            transaction,
            tenant=tenant,
            name=name,
            scopes=scope or ORDINARY,
            lifetime_seconds=lifetime_seconds,
        )
    say(token)


@cli.command(name="list")
def list_keys(*, data_dir: DataDir = None) -> None:
    """List every key, without its secret."""
    with _transaction(data_dir=data_dir) as transaction:
        found = keys.all_keys(transaction)
    heads = ("ID", "NAME", "TENANT", "SCOPES", "IN FORCE", "LAST USED")
    say_table(heads, map(_row, found))


@cli.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The id of the key, which `list` shows.")],
    *,
    data_dir: DataDir = None,
) -> None:
    """Revoke a key, everywhere and for ever, within seconds."""
    try:
        with _transaction(data_dir=data_dir) as transaction:
            key = keys.revoke(transaction, key_id)
    except KeyNotFound as error:
        fail(str(error))
    say(f"{key.id} ({key.name}) is revoked")


@contextmanager
def _transaction(*, data_dir: DataDir, creates: bool = False) -> Iterator[Connection]:
    """Open a transaction on the service's database; one that `creates` can make a new database."""
    from store.database.engine import Database  # slow to import: other commands start without it

    settings = settings_of(data_dir=data_dir)
    if not creates and settings.sqlite_path is not None and not settings.sqlite_path.exists():
        fail(f"there is no database at {settings.sqlite_path}: give the service's --data-dir")
    try:
        with closing(Database(settings.database)) as database:
            database.migrate()
            with database.write() as transaction:
                yield transaction
    except DBAPIError as error:
        fail(f"the database failed: {error.orig}")
    except (NewerDatabase, OSError) as error:
        fail(str(error))


def _row(key: ApiKey) -> tuple[str, ...]:
    last_used = "never" if key.last_used_at is None else _day(key.last_used_at)
    return key.id, key.name, key.tenant, ",".join(key.scopes), _force(key), last_used


def _force(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return f"revoked {_day(key.revoked_at)}"
    if key.expires_at is None:
        return "until revoked"
    return f"{'until' if key.expires_at > time.time() else 'expired'} {_day(key.expires_at)}"


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
