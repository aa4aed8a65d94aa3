"""Options of reading a text file, and the words that stand for a missing value."""

import codecs
import io
from functools import lru_cache
from typing import Annotated, Literal

import polars as pl
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from dropout_core.config import Config
from dropout_core.data.dates import may_be_dates
from dropout_core.data.parsing import parse_numbers

# Those of pandas, R and SQL, the errors of spreadsheets, and signs that stand for no value. Not
# `none` and `unknown`, which are as often an answer.
MISSING_WORDS = (
    *("", "NA", "na", "N/A", "n/a", "N.A.", "n.a.", "<NA>", "NaN", "nan", "NAN", "-NaN", "-nan"),
    *("NaT", "None", "NULL", "null", "Null", "(null)", "<null>", r"\N"),
    *("#N/A", "#N/A N/A", "#NA", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!"),
    *("#CALC!", "#SPILL!", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    *("?", "-", "--", "---", "\u2013", "\u2014", ".", ".."),
)


class ReadOptions(Config):
    """Options of CSV and TSV files. None is detected.

    `quote` is empty where quotes have no meaning. `encoding` is any text codec of Python. With a
    `header` the first row names the columns. The words `missing` stand for a missing value, and so
    do MISSING_WORDS unless `default_missing` is false. An empty cell is always missing. Blank lines
    are no rows: in a file of one column, write a missing value as `""` or as a word.
    """

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    quote: Literal['"', "'", ""] | None = None
    encoding: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    header: bool | None = None
    missing: Annotated[
        tuple[Annotated[str, Field(max_length=1000)], ...], Field(strict=False, max_length=1000)
    ] = ()
    default_missing: bool = True

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
                codecs.getincrementaldecoder(encoding)
                io.TextIOWrapper(io.BytesIO(), encoding=encoding)  # refuses codecs of bytes
            except (LookupError, ValueError) as error:
                raise PydanticCustomError(
                    "encoding", "no text encoding of this name is known"
                ) from error
        return encoding

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
