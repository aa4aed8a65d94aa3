"""How the cells of a text column are written, for a model to read later cells in the same way.

A column without a format is read as usual: numbers as 1234.5, dates as `dates.parse_dates` does.
"""

import datetime as dt
from typing import Annotated, Literal, Self, get_args

import polars as pl
from polars.exceptions import PolarsError
from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from dropout_core.config import Config

Decimal = Literal[".", ","]
Thousands = Literal["", ",", ".", " ", "'"]
CalendarName = Literal["iso", "dots", "year first", "month name", "day first", "month first"]

CALENDAR_NAMES: tuple[CalendarName, ...] = get_args(CalendarName)


def _check_pattern(pattern: str) -> str:
    if pattern not in CALENDAR_NAMES and not _can_be_read(pattern):
        raise PydanticCustomError(
            "date_pattern",
            "a date is written by a pattern such as %d/%m/%Y, which has a year",
        )
    return pattern


def _can_be_read(pattern: str) -> bool:
    """Return whether a date that is written by the pattern is read again."""
    moment = pl.Series([dt.datetime(2021, 11, 30, 16, 15, 14)]).dt.replace_time_zone("UTC")
    try:
        written = moment.dt.strftime(pattern)
        read = written.str.to_datetime(pattern, time_unit="us", strict=False)
    except PolarsError:
        return False
    return read.dt.year().to_list() == [2021]


DatePattern = Annotated[str, Field(max_length=100), AfterValidator(_check_pattern)]


class NumberFormat(Config):
    """Numbers as people write them: 1.234,50 has the `decimal` "," and `thousands` ".".

    Groups of thousands have three digits. A space is also a no-break space. In every format a cell
    may have a currency sign, `%` (45% is 0.45), and a minus, or parentheses instead.
    """

    type: Literal["number"] = "number"
    decimal: Decimal = "."
    thousands: Thousands = ""

    @model_validator(mode="after")
    def _are_different(self) -> Self:
        if self.decimal == self.thousands:
            raise PydanticCustomError(
                "separators", "the decimal separator and that of thousands have to be different"
            )
        return self


class DateFormat(Config):
    """Dates as `pattern` says: a calendar of `dates`, or a pattern as of strptime.

    A calendar also takes dates that have one reading, such as 2024-12-31; a pattern with `%` takes
    nothing else.
    """

    type: Literal["date"] = "date"
    pattern: DatePattern


CellFormat = Annotated[NumberFormat | DateFormat, Field(discriminator="type")]
