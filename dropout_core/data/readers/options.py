"""How a delimited text file is to be read, where its reader shall not find out by itself."""

import codecs
import io
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from dropout_core.config import Config
from dropout_core.data.missing import MISSING_WORDS


class ReadOptions(Config):
    """Of CSV and TSV alone; whatever is None is detected, by `missing` the usual words are meant.

    `quote` is empty where quotes have no meaning. `encoding` is any text codec of Python. With a
    `header` the first row names the columns. An empty cell is always missing. Blank
    lines are no rows, not even in a file of one column, where a missing value is written as `""` or
    as a word.
    """

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    quote: Literal['"', "'", ""] | None = None
    encoding: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    header: bool | None = None
    missing: (
        Annotated[
            tuple[Annotated[str, Field(max_length=1000)], ...], Field(strict=False, max_length=1000)
        ]
        | None
    ) = None

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
                io.TextIOWrapper(io.BytesIO(), encoding=encoding)  # of text, not of bytes
            except (LookupError, ValueError) as error:
                raise PydanticCustomError(
                    "encoding", "no text encoding of this name is known"
                ) from error
        return encoding

    @property
    def missing_words(self) -> tuple[str, ...]:
        return MISSING_WORDS if self.missing is None else ("", *self.missing)
