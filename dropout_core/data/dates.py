"""Dates in text: one grammar for uploads, for files to predict and for JSON rows.

A date is written 2024-12-31, 2024/12/31, 2024.12.31, 31.12.2024, 31/12/2024, 31-12-2024,
12/31/2024 or 12-31-2024, or with an English name of its month: 31 Dec 2024, 31-Dec-2024,
December 31, 2024. Day and month may have one digit. After dots, slashes and names the year may have
two digits: 70 to 99 are 1970 to 1999. A time may follow after `T`, `t`, a space, or a comma and a
space: 9:30, 09:30:15, 09:30:15.25 or 9:30 PM. A zone may follow the time, after a space or none: Z,
z, +01, +0100 or +01:00; after a space also UTC and GMT. Without a zone a date is in UTC. The second
60, a leap second, is the first second of the next minute. Years are 1 to 9999.

02/03/2024 has two readings: the other dates of its column decide, see `parse_dates`.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from dropout_core.data.by_name import exactly
from dropout_core.data.formats import DateFormat
from dropout_core.data.parsing import refusal, replace_distinct
from dropout_core.data.stored_types import DATETIME
from dropout_core.errors import DataError

_MARKS = ("T", "t", " ", ", ")  # between a date and its time
_TIMES = (
    ("[0-9]{1,2}:[0-9]{2}", "%H:%M"),
    (r"[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?", "%H:%M:%S%.f"),
)
_HALF_DAYS = (
    ("[0-9]{1,2}:[0-9]{2}", "%I:%M"),
    ("[0-9]{1,2}:[0-9]{2}:[0-9]{2}", "%I:%M:%S"),
)
_UTC = ("UTC", "GMT")
_ZONE, _ZONE_FORMAT = " ?(?:[Zz]|[+-][0-9]{2}:?(?:[0-9]{2})?)", "%#z"
_HAS_ZONE = re.compile("%[:#]*[zZ+]")

# How a date begins that may have two readings.
_SLASHED = (
    r"^\s*[0-9]{1,2}(?:/[0-9]{1,2}/(?:[0-9]{4}|[0-9]{2})|-[0-9]{1,2}-[0-9]{4})(?:[Tt, ]|\s*$)"
)

_FIRST = pl.datetime(1, 1, 1)
_LAST = pl.datetime(9999, 12, 31, 23, 59, 59, 999_999)
_ISO = "%Y-%m-%dT%H:%M:%S%.f"

# Wider than the grammar: the cell 1/2/24 is no date, but no name of a column either.
_DATE_LIKE = re.compile(
    r"(\d{4}-\d{1,2}-\d{1,2}|\d{1,4}([./])\d{1,2}\2\d{1,4})([Tt ].*)?", re.ASCII
)


class DateForm(NamedTuple):
    """One way to write a date and a time: the pattern of the whole cell, and chrono's format.

    No cell matches the patterns of two forms of a calendar.
    """

    pattern: str
    format: str


@dataclass(frozen=True)
class Calendar:
    """An order of day, month and year: the pattern of its dates, and their forms."""

    pattern: str
    forms: tuple[DateForm, ...]

    def forms_of(self, cells: Iterable[str]) -> tuple[DateForm, ...]:
        """Return the forms that occur among the cells."""
        if not self.pattern:
            return self.forms
        alike = [cell for cell in cells if re.search(self.pattern, cell)]
        return tuple(f for f in self.forms if any(re.search(f.pattern, cell) for cell in alike))


def _calendar(*dates: tuple[str, str]) -> Calendar:
    """Return the calendar of these dates, each a pattern and a format."""
    forms = [form for date, format_ in dates for form in _forms(date, format_)]
    times = "|".join(time for time, _ in _TIMES)
    half_days = "|".join(time for time, _ in _HALF_DAYS)
    any_time = f"(?:{times})(?:{_ZONE}| (?:{'|'.join(_UTC)}))?|(?:{half_days}) ?[AaPp][Mm]"
    any_date = "|".join(date for date, _ in dates)
    return Calendar(f"^(?:{any_date})(?:(?:[Tt ]|, )(?:{any_time}))?$", tuple(forms))


def _forms(date: str, date_format: str) -> Iterator[DateForm]:
    yield DateForm(f"^{date}$", date_format)
    for mark in _MARKS:
        pattern, format_ = f"^{date}{mark}", f"{date_format}{mark}"
        for time, time_format in _TIMES:
            yield DateForm(f"{pattern}{time}$", f"{format_}{time_format}")
            yield DateForm(f"{pattern}{time}{_ZONE}$", f"{format_}{time_format}{_ZONE_FORMAT}")
            for zone in _UTC:
                yield DateForm(f"{pattern}{time} {zone}$", f"{format_}{time_format} {zone}")
        for time, time_format in _HALF_DAYS:
            for space in ("", " "):
                half = f"{time}{space}[AaPp][Mm]"
                yield DateForm(f"{pattern}{half}$", f"{format_}{time_format}{space}%p")


_DAY, _YEAR, _SHORT_YEAR = "[0-9]{1,2}", "[0-9]{4}", "[0-9]{2}"
_MONTH = (
    "(?i:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    "|sep(?:tember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_WEEKDAY = "(?i:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?i:day)?"

CALENDARS: Mapping[str, Calendar] = {
    "iso": _calendar((f"{_YEAR}-{_DAY}-{_DAY}", "%Y-%m-%d")),
    "dots": _calendar(
        (rf"{_DAY}\.{_DAY}\.{_YEAR}", "%d.%m.%Y"), (rf"{_DAY}\.{_DAY}\.{_SHORT_YEAR}", "%d.%m.%y")
    ),
    "year first": _calendar(
        (f"{_YEAR}/{_DAY}/{_DAY}", "%Y/%m/%d"), (rf"{_YEAR}\.{_DAY}\.{_DAY}", "%Y.%m.%d")
    ),
    "month name": _calendar(
        (f"{_DAY} {_MONTH} {_YEAR}", "%d %B %Y"),
        (f"{_DAY}-{_MONTH}-{_YEAR}", "%d-%B-%Y"),
        (f"{_DAY}/{_MONTH}/{_YEAR}", "%d/%B/%Y"),
        (f"{_DAY} {_MONTH} {_SHORT_YEAR}", "%d %B %y"),
        (f"{_DAY}-{_MONTH}-{_SHORT_YEAR}", "%d-%B-%y"),
        (f"{_MONTH} {_DAY}, {_YEAR}", "%B %d, %Y"),
        (f"{_MONTH} {_DAY} {_YEAR}", "%B %d %Y"),
        (f"{_MONTH}-{_DAY}-{_YEAR}", "%B-%d-%Y"),
        (f"{_YEAR}-{_MONTH}-{_DAY}", "%Y-%B-%d"),
        (f"{_WEEKDAY}, {_DAY} {_MONTH} {_YEAR}", "%A, %d %B %Y"),
        (f"{_WEEKDAY}, {_MONTH} {_DAY}, {_YEAR}", "%A, %B %d, %Y"),
    ),
    "day first": _calendar(
        (f"{_DAY}/{_DAY}/{_YEAR}", "%d/%m/%Y"),
        (f"{_DAY}/{_DAY}/{_SHORT_YEAR}", "%d/%m/%y"),
        (f"{_DAY}-{_DAY}-{_YEAR}", "%d-%m-%Y"),
    ),
    "month first": _calendar(
        (f"{_DAY}/{_DAY}/{_YEAR}", "%m/%d/%Y"),
        (f"{_DAY}/{_DAY}/{_SHORT_YEAR}", "%m/%d/%y"),
        (f"{_DAY}-{_DAY}-{_YEAR}", "%m-%d-%Y"),
    ),
}
WITH_ONE_READING = ("iso", "dots", "year first", "month name")
"""The calendars whose dates have one reading, which is known without their column."""


def date_values(cells: pl.Expr, forms: Iterable[DateForm]) -> pl.Expr:
    """Return Datetime in UTC of cells without white space around them, null where none is a date.

    Name few `forms`: each takes a pass over the cells.
    """
    values = pl.coalesce(
        _in_utc(pl.when(cells.str.contains(form.pattern)).then(cells), form.format)
        for form in forms
    )
    # A zone or a leap second may lead out of these years.
    return pl.when(values.is_between(_FIRST, _LAST)).then(values)


def _in_utc(cells: pl.Expr, format_: str) -> pl.Expr:
    values = cells.str.to_datetime(format_, time_unit="us", strict=False)
    return values.dt.replace_time_zone(None) if _HAS_ZONE.search(format_) else values


def parse_dates(column: pl.Series, format_: DateFormat | None = None) -> pl.Series:
    """Return Datetime in UTC of a stored column, null where a cell is no date.

    With a format each cell is read as it says, whatever the others hold. Without one, 31/12/2024
    and 12/31/2024 are read in the order, day or month first, that fits all such dates of the
    column, or else most of them; raises DataError if both fit and differ. Numbers are no dates.
    """
    if column.dtype == DATETIME:
        return column
    if format_ is not None and "%" in format_.pattern and column.dtype.is_integer():
        column = column.cast(pl.String)  # %Y%m%d may be stored as a number
    if column.dtype != pl.String:
        return pl.repeat(None, len(column), dtype=DATETIME, eager=True)
    distinct = column.unique().drop_nulls()
    if format_ is not None:
        return replace_distinct(column, distinct, _parse_as(distinct, format_.pattern))
    slashed = distinct.str.contains(_SLASHED)
    if not slashed.any():
        return replace_distinct(column, distinct, parse_each_date(distinct))
    readings = [
        _parse(distinct, (*WITH_ONE_READING, order)) for order in ("day first", "month first")
    ]
    num_unread = [int((slashed & reading.is_null()).sum()) for reading in readings]
    if num_unread == [0, 0] and not readings[0].equals(readings[1]):
        row = int(column.is_in(distinct.filter(readings[0] != readings[1])).arg_max() or 0)
        why = "may be day/month or month/day: write dates as 2024-12-31"
        raise refusal(column, row, why)
    best = readings[0] if num_unread[0] <= num_unread[1] else readings[1]
    return replace_distinct(column, distinct, best)


def parse_each_date(text: pl.Series) -> pl.Series:
    """Return Datetime in UTC of text, each date read on its own: 31/12/2024 is null."""
    return _parse(text, WITH_ONE_READING)


def _parse_as(text: pl.Series, pattern: str) -> pl.Series:
    if pattern in CALENDARS:
        return _parse(text, tuple(dict.fromkeys((pattern, *WITH_ONE_READING))))
    cells = text.str.strip_chars().to_frame("cell")
    values = cells.select(date_values(pl.col("cell"), [DateForm("", pattern)]))
    return values.to_series().alias(text.name)


def _parse(text: pl.Series, calendars: Sequence[str]) -> pl.Series:
    cells = text.str.strip_chars()
    forms = [
        form
        for calendar in map(CALENDARS.__getitem__, calendars)
        if cells.str.contains(calendar.pattern).any()
        for form in calendar.forms
        if cells.str.contains(form.pattern).any()
    ]
    if not forms:
        return pl.repeat(None, len(text), dtype=DATETIME, eager=True).alias(text.name)
    values = cells.to_frame("cell").select(date_values(pl.col("cell"), forms))
    return values.to_series().alias(text.name)


def may_be_dates(text: pl.Series) -> pl.Series:
    """Return Boolean: whether a column could decide that the text is a date."""
    return parse_each_date(text).is_not_null() | text.str.contains(_SLASHED)


def looks_like_date(cell: str) -> bool:
    """Return whether a cell of a file's first row is a date rather than the name of a column."""
    if _DATE_LIKE.fullmatch(cell) is not None:
        return True
    return any(re.match(calendar.pattern, cell) for calendar in CALENDARS.values())


@dataclass(frozen=True)
class SettledDates:
    """The dates of a column that may have two readings: as `written`, and as `meant` in ISO 8601.

    A batch of rows does not see the whole column, so they are settled before.
    """

    column: str
    written: pl.Series
    meant: pl.Series


def settle_dates(
    table: pl.LazyFrame, columns: Iterable[str], *, missing: Collection[str]
) -> list[SettledDates]:
    """Return the settled dates of those of the `columns` that the table holds as text.

    The words `missing` may look like dates and are left out. Raises DataError if both readings fit.
    """
    schema = table.collect_schema()
    names = [name for name in columns if schema.get(name) == pl.String]
    settled = [_settle(table, name, missing) for name in names]
    return [dates for dates in settled if len(dates.written)]


def with_settled_dates(rows: pl.DataFrame, settled: Iterable[SettledDates]) -> pl.DataFrame:
    """Return the rows with their settled dates in ISO 8601."""
    return rows.with_columns(
        exactly(s.column).as_expr().replace(s.written, s.meant) for s in settled
    )


def _settle(table: pl.LazyFrame, name: str, missing: Collection[str]) -> SettledDates:
    text = exactly(name).as_expr()
    slashed = text.str.contains(_SLASHED) & ~text.str.strip_chars().is_in(list(missing))
    written = table.select(written=text.filter(slashed).unique()).collect()["written"]
    try:
        meant = parse_dates(written).dt.strftime(_ISO).fill_null(written)
    except DataError as error:  # its row counts the distinct dates
        raise DataError(error.message, column=name) from error
    return SettledDates(name, written, meant)
