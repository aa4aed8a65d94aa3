"""What the cells of a column of text are: numbers, booleans, dates or words."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import polars as pl

NAMED_SHARE = 0.9  # a column so full of numbers that its words are worth a warning
_NUM_EXAMPLES = 3
_EXAMPLE_CHARS = 40

CellType = Literal["missing", "integer", "number", "boolean", "datetime", "text"]

_TIME = r"(?:[T ][0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?"
_CLOCKS = ("%H:%M", "%H:%M:%S%.f")


@dataclass(frozen=True)
class _Calendar:
    """An order of day, month and year: the pattern all its dates match, and how chrono reads it."""

    pattern: str
    date: str
    has_zones: bool = False

    @property
    def formats(self) -> tuple[str, ...]:
        times = [f"{self.date}{mark}{clock}" for mark in "T " for clock in _CLOCKS]
        zoned = [f"{time}%#z" for time in times] if self.has_zones else []
        return (self.date, *times, *zoned)

    @property
    def full_pattern(self) -> str:
        zone = r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?" if self.has_zones else ""
        return f"^{self.pattern}{_TIME}{zone})?$"


_DAY = "[0-9]{1,2}"
_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"  # not 0000
_CALENDARS = {
    "iso": _Calendar(f"{_YEAR}-{_DAY}-{_DAY}", "%Y-%m-%d", has_zones=True),
    "dots": _Calendar(rf"{_DAY}\.{_DAY}\.{_YEAR}", "%d.%m.%Y"),
    "year first": _Calendar(f"{_YEAR}/{_DAY}/{_DAY}", "%Y/%m/%d"),
    "day first": _Calendar(f"{_DAY}/{_DAY}/{_YEAR}", "%d/%m/%Y"),
    "month first": _Calendar(f"{_DAY}/{_DAY}/{_YEAR}", "%m/%d/%Y"),
}


@dataclass(frozen=True)
class Findings:
    """How many cells of a column are what; `formats` of the dates are those that occur."""

    num_cells: int = 0
    num_numbers: int = 0
    num_integers: int = 0  # of 64 bits
    num_whole: int = 0  # integers of any length
    has_leading_zeros: bool = False
    num_booleans: int = 0
    num_dates: Mapping[str, int] = field(default_factory=dict)
    formats: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Kind:
    """What a column of cells becomes, and how: `calendar` and `formats` are of dates."""

    type: CellType
    calendar: str = ""
    formats: tuple[str, ...] = ()
    is_certain: bool = True  # whether any cells to come could fit as well
    warning: str | None = None
    unfit: str | None = None  # of text that is almost all numbers or dates: what the rest is not


def analyse(cells: pl.LazyFrame, columns: Iterable[int], missing: Sequence[str]) -> list[Findings]:
    """Look at all cells of these columns of strings, which are counted from 0."""
    names = [str(column) for column in columns]
    cells = cells.select(pl.nth(int(name)).alias(name) for name in names)
    cells = cells.select(_cell(pl.col(names), missing))
    found = dict.fromkeys(names, Findings())
    found |= _update(cells, found, _NUMBERS)
    found |= _update(cells, _where(found, lambda f: f.num_cells == f.num_numbers > 0), _DIGITS)
    others = _update(cells, _where(found, lambda f: f.num_cells > f.num_numbers), _LOOKS)
    for calendar in _CALENDARS:
        dated = [name for name in others if others[name].num_dates[calendar]]
        for name in dated:
            others[name] = _with_dates(cells, name, others[name], calendar)
    found |= others
    return list(found.values())


def settle(findings: Findings) -> Kind:
    """What a column is, if these are all of its cells."""
    if findings.num_cells == 0:
        return Kind("missing")
    if findings.num_numbers == findings.num_cells:
        return _settle_numbers(findings)
    if findings.num_booleans == findings.num_cells:
        return Kind("boolean")
    calendars = [
        calendar for calendar, count in findings.num_dates.items() if count == findings.num_cells
    ]
    if {"day first", "month first"} <= set(calendars):
        return Kind(
            "text",
            is_certain=False,
            warning="its dates could begin with the day or with the month, so it stays text",
        )
    if calendars:
        return Kind("datetime", calendars[0], findings.formats[calendars[0]])
    return _settle_text(findings)


def _settle_numbers(findings: Findings) -> Kind:
    if findings.num_whole < findings.num_cells:
        return Kind("number")
    if findings.has_leading_zeros:
        return Kind("text", is_certain=False)
    if findings.num_integers == findings.num_cells:
        return Kind("integer")
    warning = "its whole numbers are longer than 64 bits, so it stays text"
    return Kind("text", is_certain=False, warning=warning)


def _settle_text(findings: Findings) -> Kind:
    num_dates = max(findings.num_dates.values(), default=0)
    num_fit = max(findings.num_numbers, num_dates)
    kind = Kind("text", is_certain=num_fit < 0.5 * findings.num_cells)
    if num_fit < NAMED_SHARE * findings.num_cells:
        return kind
    if findings.num_numbers == num_fit:
        return replace(kind, unfit="numbers")
    calendar = max(findings.num_dates, key=findings.num_dates.__getitem__)
    return replace(
        kind, unfit="dates", calendar=calendar, formats=findings.formats.get(calendar, ())
    )


def value(column: int, kind: Kind, missing: Sequence[str]) -> pl.Expr:
    """The values of a column of strings, null where a cell is missing or does not fit."""
    if kind.type in ("text", "missing"):
        return text(pl.nth(column), missing)
    cell = _cell(pl.nth(column), missing)
    match kind.type:
        case "integer":
            return cell.cast(pl.Int64, strict=False)
        case "number":
            return cell.cast(pl.Float64, strict=False).fill_nan(None)
        case "boolean":
            return cell.str.to_lowercase().replace_strict(
                {"true": True, "false": False}, default=None, return_dtype=pl.Boolean
            )
        case _:
            return moment(cell, kind)


def text(cells: pl.Expr, missing: Sequence[str]) -> pl.Expr:
    """The cells as they are, null where one is missing."""
    return pl.when(~cells.is_in(list(missing))).then(cells)


def moment(cell: pl.Expr, kind: Kind) -> pl.Expr:
    """Dates of a calendar as UTC, null where a cell is none. Years are 1 to 9999."""
    is_date = cell.str.contains(_CALENDARS[kind.calendar].full_pattern)
    dates = pl.when(is_date).then(cell)
    return pl.coalesce(_parse(dates, format_) for format_ in kind.formats)


def strictly(values: pl.Expr, cells: pl.Expr) -> pl.Expr:
    """The same values, if there is one for each cell; computing them otherwise raises."""
    is_lost = values.is_null() & cells.is_not_null()
    lost = (-is_lost.cast(pl.Int8)).cast(pl.UInt8, strict=True)  # -1 is none
    return pl.when(lost == 0).then(values)


def unfit_cells(cells: pl.LazyFrame, column: int, kind: Kind, missing: Sequence[str]) -> str:
    """A warning of a column of text that is almost all numbers or dates, with some examples."""
    fits = (
        _cell(pl.nth(column), missing).cast(pl.Float64, strict=False)
        if kind.unfit == "numbers"
        else moment(_cell(pl.nth(column), missing), kind)
    )
    unfit = (
        cells.select(cell=_cell(pl.nth(column), missing), fits=fits.is_not_null())
        .with_row_index("row", offset=1)
        .filter(pl.col("cell").is_not_null())
        .select(
            pl.len().alias("num_cells"),
            (~pl.col("fits")).sum().alias("num_unfit"),
            pl.struct("row", "cell").filter(~pl.col("fits")).head(_NUM_EXAMPLES).implode(),
        )
        .collect()
        .row(0)
    )
    num_cells, num_unfit, examples = unfit
    such = ", ".join(f"{_shown(found['cell'])} in row {found['row']}" for found in examples)
    return f"{num_unfit} of {num_cells} values are no {kind.unfit}, such as {such}"


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= _EXAMPLE_CHARS else cell[:_EXAMPLE_CHARS] + "...")


def _cell(cells: pl.Expr, missing: Sequence[str]) -> pl.Expr:
    """The cells without blanks around them, null where one is missing."""
    stripped = cells.str.strip_chars()
    return pl.when(~stripped.is_in(list(missing))).then(stripped)


def _parse(cells: pl.Expr, format_: str) -> pl.Expr:
    moments = cells.str.to_datetime(format_, time_unit="us", strict=False)
    utc = moments.dt.replace_time_zone(None) if format_.endswith("z") else moments
    # A zone or a leap second may lead out of them.
    first, last = pl.datetime(1, 1, 1), pl.datetime(9999, 12, 31, 23, 59, 59, 999_999)
    return pl.when(utc.is_between(first, last)).then(utc)


Facts = Mapping[str, Callable[[pl.Expr], pl.Expr]]

_NUMBERS: Facts = {
    "num_cells": lambda cells: cells.count(),
    "num_numbers": lambda cells: cells.cast(pl.Float64, strict=False).count(),
    "num_integers": lambda cells: cells.cast(pl.Int64, strict=False).count(),
}
_DIGITS: Facts = {
    "num_whole": lambda cells: cells.str.contains("^[+-]?[0-9]+$").sum(),
    "has_leading_zeros": lambda cells: cells.str.contains("^0[0-9]+$").any(),
}
_LOOKS: Facts = {
    "num_booleans": lambda cells: cells.str.to_lowercase().is_in(["true", "false"]).sum(),
    **{
        name: lambda cells, pattern=calendar.full_pattern: cells.str.contains(pattern).sum()  # type: ignore[misc]
        for name, calendar in _CALENDARS.items()
    },
}


def _where(found: Mapping[str, Findings], holds: Callable[[Findings], bool]) -> dict[str, Findings]:
    return {name: findings for name, findings in found.items() if holds(findings)}


def _update(
    cells: pl.LazyFrame, found: Mapping[str, Findings], facts: Facts
) -> dict[str, Findings]:
    """Compute more facts of some columns, all in one pass."""
    if not found:
        return {}
    asked = [fact(pl.col(list(found))).name.suffix(f" {name}") for name, fact in facts.items()]
    answers = cells.select(asked).collect().row(0, named=True)
    updated = {}
    for column, findings in found.items():
        known = {name: answers[f"{column} {name}"] for name in facts}
        num_dates = {name: known.pop(name) for name in _CALENDARS if name in known}
        updated[column] = replace(findings, **known, num_dates=num_dates or findings.num_dates)
    return updated


def _with_dates(cells: pl.LazyFrame, name: str, findings: Findings, calendar: str) -> Findings:
    """Count not what looks like a date, but what is one."""
    formats = _CALENDARS[calendar].formats
    cell = pl.col(name)
    dates = pl.when(cell.str.contains(_CALENDARS[calendar].full_pattern)).then(cell)
    *counts, num_dates = (
        cells.select(
            *(_parse(dates, format_).count().alias(format_) for format_ in formats),
            moment(cell, Kind("datetime", calendar, formats)).count().alias("dates"),
        )
        .collect()
        .row(0)
    )
    occurring = tuple(format_ for format_, count in zip(formats, counts, strict=True) if count)
    return replace(
        findings,
        num_dates={**findings.num_dates, calendar: num_dates},
        formats={**findings.formats, calendar: occurring},
    )
