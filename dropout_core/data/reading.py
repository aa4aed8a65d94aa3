"""How the text of a table was read: what the models that are trained on it remember."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from dropout_core.config import Config
from dropout_core.data.dates import WITH_ONE_READING
from dropout_core.data.formats import CellFormat, DateFormat, NumberFormat
from dropout_core.data.read_options import MISSING_WORDS

FIRST_MISSING_WORDS = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "<NA>", "#N/A", "?")
"""The words of models that were saved before models remembered theirs."""


class Reading(Config):
    """How text is read for a model, in files and in JSON, as it was read in the table it learned.

    - `formats`: how the numbers or dates of a column are written, by name; see `data.formats`.
    - `missing`: the words that stand for a missing value.
    - `lenient`: columns whose cells are missing where they cannot be read.
    """

    formats: Mapping[str, CellFormat] = Field({})
    missing: Annotated[tuple[str, ...], Field(strict=False)] = MISSING_WORDS
    lenient: Annotated[tuple[str, ...], Field(strict=False)] = ()

    def number_format(self, column: str) -> NumberFormat | None:
        format_ = self.formats.get(column)
        return format_ if isinstance(format_, NumberFormat) else None

    def date_format(self, column: str) -> DateFormat | None:
        """Return the format, None for one whose dates are read as well without it."""
        format_ = self.formats.get(column)
        if not isinstance(format_, DateFormat) or format_.pattern in WITH_ONE_READING:
            return None
        return format_
