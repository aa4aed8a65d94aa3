"""Parts of every command: settings from its flags, and errors of one line."""

import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from store.operations.private_files import make_private
from store.settings import PREFIX, Settings

RELEASE = version("dropout-service")

DataDir = Annotated[Path | None, typer.Option(help="Folder of all data.")]


def settings_of(**flags: Any) -> Settings:
    """Return settings from flags, the environment and defaults; exit with one line if invalid."""
    try:
        settings = Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        fail("; ".join(_flaw(flaw["loc"], flaw["msg"]) for flaw in error.errors()))
    for path in make_private(settings):
        warn(f"other users have rights on {path}, and this one may not take them away")
    return settings


def _flaw(location: tuple[int | str, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")
    return ": ".join([*(f"{PREFIX}{name}".upper() for name in location[:1]), message])


def say(message: str) -> None:
    print(message, flush=True)  # noqa: T201


def say_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a row of heads and rows, in columns."""
    lines = [heads, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        say("  ".join(cells).rstrip())


def warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)  # noqa: T201


def fail(message: str) -> NoReturn:
    message = " ".join(message.split())  # errors of libraries may have several lines
    print(f"error: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(1)
