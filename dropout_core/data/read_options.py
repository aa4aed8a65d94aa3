"""Options of reading a text file, and the words that stand for a missing value."""

import codecs
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Literal

import polars as pl
from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from dropout_core.config import Config, FeatureType
from dropout_core.data.dates import CALENDARS, Calendar, DateForm, may_be_dates
from dropout_core.data.formats import DatePattern, Decimal, NumberFormat, Thousands
from dropout_core.data.parsing import formats_with, parse_numbers

# Those of pandas, R and SQL, the errors of spreadsheets, and signs that stand for no value. Not
# `none` and `unknown`, which are as often an answer.
MISSING_WORDS = (
    *("", "NA", "na", "N/A", "n/a", "N.A.", "n.a.", "<NA>", "NaN", "nan", "NAN", "-NaN", "-nan"),
    *("NaT", "None", "NULL", "null", "Null", "(null)", "<null>", r"\N"),
    *("#N/A", "#N/A N/A", "#NA", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!"),
    *("#CALC!", "#SPILL!", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    *("?", "-", "--", "---", "\u2013", "\u2014", ".", ".."),
)

# Codecs that take linear time, by their names in Python: not punycode, idna or escapes.
_ENCODING = re.compile(
    r"ascii|utf-(?:8|8-sig|(?:16|32)(?:-[bl]e)?)|iso8859-\d+|cp\d+|koi8-[rtu]|mac-\w+|kz1048"
    r"|ptcp154|tis-620|hp-roman8|gb2312|gbk|gb18030|hz|big5(?:hkscs)?|shift_jis\w*|euc_\w+|johab"
    r"|iso2022_\w+"
)


class ReadOptions(Config):
    """Options of CSV and TSV files. None is detected.

    `quote` is empty where quotes have no meaning. `encoding` is a text codec of Python. With a
    `header` the first row names the columns. The words `missing` stand for a missing value, and so
    do MISSING_WORDS unless `default_missing` is false. An empty cell is always missing. Blank lines
    are no rows: in a file of one column, write a missing value as `""` or as a word.

    `decimal` and `thousands` are the separators of all numbers. `date_format` is a pattern such as
    %Y%m%d of columns whose cells all fit it; `day_first` says what 02/03/2024 is. `types` are those
    of columns: cells of another type are missing. The first `skip_rows` lines are no part of the
    table, nor are lines that begin with the sign of a `comment`.
    """

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    quote: Literal['"', "'", ""] | None = None
    encoding: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    header: bool | None = None
    missing: Annotated[
        tuple[Annotated[str, Field(max_length=1000)], ...],
        Field(strict=False, max_length=1000, fail_fast=True),
    ] = ()
    default_missing: bool = True
    decimal: Decimal | None = None
    thousands: Thousands | None = None
    date_format: DatePattern | None = None
    day_first: bool | None = None
    types: Annotated[dict[str, FeatureType], Field(max_length=100_000, fail_fast=True)] = Field({})
    skip_rows: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    comment: Annotated[str, Field(min_length=1, max_length=10)] | None = None

    @field_validator("delimiter")
    @classmethod
    def _can_delimit(cls, delimiter: str | None) -> str | None:
        if delimiter is not None and (
            not delimiter.isascii() or delimiter.isalnum() or delimiter in "\0\r\n\"'"
        ):
            raise PydanticCustomError(
                "delimiter",
                "a delimiter is one ASCII character: no letter, digit, quote or end of a line",
            )
        return delimiter

    @field_validator("encoding")
    @classmethod
    def _is_a_text_codec(cls, encoding: str | None) -> str | None:
        if encoding is not None:
            try:
                name = codecs.lookup(encoding).name
            except (LookupError, ValueError):
                name = ""
            if _ENCODING.fullmatch(name) is None:
                raise PydanticCustomError(
                    "encoding",
                    "no text encoding of this name is known; there are utf-8, utf-16, utf-32, "
                    "latin-1, cp1252 and other code pages, gb18030, big5, shift_jis, euc-kr and "
                    "their like",
                )
        return encoding

    @field_validator("thousands")
    @classmethod
    def _differs(cls, thousands: Thousands | None, info: ValidationInfo) -> Thousands | None:
        if thousands is not None and thousands == info.data.get("decimal"):
            raise PydanticCustomError(
                "separators", "the separators of decimals and of thousands have to be different"
            )
        return thousands

    @property
    def formats(self) -> tuple[NumberFormat, ...]:
        """Return the formats that numbers may have, the usual one first."""
        return formats_with(self.decimal, self.thousands)

    @property
    def number_format(self) -> NumberFormat | None:
        """Return the format that was given, if one was."""
        if self.thousands is None:
            return None if self.decimal is None else NumberFormat(decimal=self.decimal)
        decimal = self.decimal or ("," if self.thousands == "." else ".")
        return NumberFormat(decimal=decimal, thousands=self.thousands)

    @property
    def calendars(self) -> Mapping[str, Calendar]:
        """Return the calendars that dates may be of, by name."""
        other = {True: "month first", False: "day first", None: None}[self.day_first]
        usual = {name: calendar for name, calendar in CALENDARS.items() if name != other}
        if self.date_format is None:
            return usual
        return {self.date_format: Calendar("", (DateForm("", self.date_format),)), **usual}

    @property
    def missing_words(self) -> tuple[str, ...]:
        """Return all words that stand for a missing value, without white space around them."""
        usual = MISSING_WORDS if self.default_missing else ("",)
        return tuple(dict.fromkeys((*usual, *(word.strip() for word in self.missing))))


@lru_cache(maxsize=64)
def spell_values(words: frozenset[str]) -> bool:
    """Return whether any of the words could be read as a number, a boolean or a date, as -999 can.

    Such words become null before values are parsed, or -999 would become a number. NaN is not
    such a word, because it is always missing.
    """
    text = pl.Series("word", sorted(words), dtype=pl.String)
    numbers = parse_numbers(text.to_frame()).to_series().fill_nan(None)
    return bool((numbers.is_not_null() | may_be_dates(text)).any())


@lru_cache(maxsize=64)
def spelt_numbers(words: frozenset[str]) -> tuple[float, ...]:
    """Return the finite numbers among the words: -999 is missing however it is written."""
    text = pl.Series(sorted(words), dtype=pl.String)
    numbers = text.cast(pl.Float64, strict=False).drop_nulls()
    return tuple(numbers.filter(numbers.is_finite()))
