"""Type inference: what a column of text holds, by all of its cells."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import polars as pl

from dropout_core.config import FeatureType
from dropout_core.data.dates import DateForm, date_values
from dropout_core.data.formats import CellFormat, DateFormat, Decimal, NumberFormat
from dropout_core.data.parsing import CURRENCY, FORMATS, PLAIN, bare_number_text, shown
from dropout_core.data.read_options import ReadOptions
from dropout_core.data.readers.cell_counts import CellCounts, plain_text, present
from dropout_core.errors import DataError

FEW = 0.1  # the share of cells that a column of numbers or dates may have of others
_FEW_AMONG_CODES = 0.01
_MAX_CODES = 20
_MIN_REPEATS = 10
_NUM_EXAMPLES = 3
_ORDERS = {"day first": True, "month first": False}

CellType = Literal["missing", "integer", "number", "boolean", "datetime", "text"]


@dataclass(frozen=True)
class InferredType:
    """The type of a column, and how to read it: `forms` are those of its dates.

    `is_ambiguous` says that another format or calendar fits as well; `decimal` and `day_first` are
    known where no other does. `num_unfit` cells are of another type:
    they are missing, and in a column that stays text only worth a warning. `keeps` are words for a
    missing value that are values here.
    """

    type: CellType
    forms: tuple[DateForm, ...] = ()
    format: CellFormat | None = None
    is_ambiguous: bool = False
    decimal: Decimal | None = None
    day_first: bool | None = None
    is_plain: bool = False  # all cells are plain numbers
    has_infinity: bool = False
    is_certain: bool = True  # False if the cells to come may change the type
    warning: str | None = None
    num_unfit: int = 0
    keeps: tuple[str, ...] = ()

    @property
    def numbers(self) -> NumberFormat:
        """Return the format of the numbers."""
        return self.format if isinstance(self.format, NumberFormat) else PLAIN

    @property
    def is_parsed(self) -> bool:
        """Return whether the parser of the file reads the values by itself."""
        return self.type == "boolean" or (self.type in ("integer", "number") and self.is_plain)

    @property
    def is_converted(self) -> bool:
        """Return whether `strict_values` reads the values."""
        return self.type in ("datetime", "number") and not self.is_parsed

    def missing(self, words: Sequence[str]) -> list[str]:
        """Return the words that are missing here."""
        return [word for word in words if word not in self.keeps]


def infer(counts: CellCounts, declared: FeatureType | None = None) -> InferredType:
    """Return the type of a column, if these are all of its cells.

    Raises DataError if no cell is of the type that is declared.
    """
    if counts.num_cells == 0:
        return InferredType("missing")
    if declared is not None:
        return _declared(counts, declared)
    dates = _infer_dates(counts)
    if counts.num_numbers == counts.num_cells:
        # A format of dates that was given, such as %Y%m%d, may read numbers.
        return dates or _infer_numbers(counts)
    if counts.num_booleans == counts.num_cells:
        return InferredType("boolean")
    if dates is not None:
        return dates
    if _are_few(counts.num_cells - counts.num_numbers, counts):
        return _infer_numbers(counts)
    return _infer_text(counts)


def _declared(counts: CellCounts, declared: FeatureType) -> InferredType:
    if declared in ("categorical", "text"):
        return _text(counts)
    if declared == "numeric":
        found = counts.num_numbers
        are_whole = counts.num_integers == found
        inferred = _numbers(counts, "integer" if are_whole else "number")
    elif declared == "boolean":
        found = counts.num_booleans
        inferred = InferredType("boolean")
    else:
        found = max(counts.num_dates.values(), default=0)
        if counts.has_two_readings:
            raise DataError(f"{_TWO_READINGS}: {_SAY_WHICH}", field="day_first")
        inferred = _dates(counts) if found else InferredType("datetime")
    if not found:
        raise DataError(f"no value is of the type {declared}", field="types")
    return replace(inferred, is_certain=False, num_unfit=counts.num_cells - found)


_TWO_READINGS = "its dates could begin with the day or with the month"
_SAY_WHICH = "upload the file with day_first=true or day_first=false"


def _infer_dates(counts: CellCounts) -> InferredType | None:
    if counts.has_two_readings:
        warning = f"{_TWO_READINGS}, so it stays text: {_SAY_WHICH}"
        return replace(_text(counts), is_certain=False, is_ambiguous=True, warning=warning)
    most = max(counts.num_dates.values(), default=0)
    if most < (1 - FEW) * counts.num_cells or most < counts.num_numbers:
        return None
    return _dates(counts)


def _dates(counts: CellCounts) -> InferredType:
    calendar = max(counts.num_dates, key=counts.num_dates.__getitem__)
    num_unfit = counts.num_cells - counts.num_dates[calendar]
    return InferredType(
        "datetime",
        counts.forms[calendar],
        format=DateFormat(pattern=calendar),
        is_ambiguous=counts.has_two_orders,
        day_first=None if counts.has_two_orders else _ORDERS.get(calendar),
        is_certain=not counts.has_two_orders and num_unfit == 0,
        num_unfit=num_unfit,
    )


def _infer_numbers(counts: CellCounts) -> InferredType:
    if counts.num_pointed == counts.num_cells:
        # Programs whose integers cannot be missing write them as 1.0 beside a hole.
        numbers = _numbers(counts, "integer" if counts.num_missing else "number")
        return replace(numbers, is_certain=False)
    if counts.num_whole < counts.num_numbers:
        return _numbers(counts, "number")
    if counts.has_leading_zeros:
        return replace(_text(counts), is_certain=False)
    if counts.num_integers == counts.num_numbers:
        return _numbers(counts, "integer")
    warning = "its whole numbers are longer than 64 bits, so it stays text"
    return replace(_text(counts), is_certain=False, warning=warning)


def _numbers(counts: CellCounts, type_: CellType) -> InferredType:
    all_plain = counts.num_distinct == 0
    are_dotted = all_plain and counts.num_whole < counts.num_dotted == counts.num_cells
    is_ambiguous = are_dotted or counts.other_format is not None
    has_one_decimal = counts.has_one_decimal or (all_plain and type_ == "number" and not are_dotted)
    are_bare = type_ == "number" and has_one_decimal and counts.num_bare == counts.num_cells
    return InferredType(
        type_,
        format=counts.format,
        is_ambiguous=is_ambiguous,
        decimal=counts.format.decimal if has_one_decimal else None,
        is_plain=all_plain,
        has_infinity=counts.num_infinite > 0,
        is_certain=(all_plain or are_bare) and not is_ambiguous and counts.num_infinite == 0,
        warning=_ambiguity(counts) if is_ambiguous else None,
        num_unfit=counts.num_cells - counts.num_numbers + counts.num_infinite,
    )


def _ambiguity(counts: CellCounts) -> str | None:
    if counts.format != PLAIN:
        return "1,234 was read as 1234; if it means 1.234, upload the file with decimal=,"
    if counts.num_whole:  # plain numbers seldom have either three decimals or none
        return "1.234 was read as it is; if it means 1234, upload the file with thousands=."
    return None


def _are_few(num_unfit: int, counts: CellCounts) -> bool:
    """Return whether the cells that are no numbers are few beside the numbers.

    Among numbers that are codes, such as ratings, a word is rather one more code.
    """
    num_numbers, num_distinct = counts.num_numbers, counts.num_distinct
    are_codes = num_distinct <= _MAX_CODES and num_numbers >= _MIN_REPEATS * num_distinct
    return num_unfit <= (_FEW_AMONG_CODES if are_codes else FEW) * counts.num_cells


def _infer_text(counts: CellCounts) -> InferredType:
    """Return the type of text, with a count of what is no number, or no date, among many."""
    num_dates = max(counts.num_dates.values(), default=0)
    num_fit = max(counts.num_numbers, num_dates)
    if num_fit < 0.5 * counts.num_cells:
        return _text(counts)
    text = replace(_text(counts), is_certain=False, num_unfit=counts.num_cells - num_fit)
    if num_fit == counts.num_numbers:
        return replace(text, format=counts.format)
    return replace(text, forms=_dates(counts).forms)


def _text(counts: CellCounts) -> InferredType:
    # Where a plus is a value, a minus is one too.
    return InferredType("text", keeps=("-",) if counts.num_plus else ())


def told_formats(types: Sequence[InferredType], options: ReadOptions) -> list[CellFormat | None]:
    """Return the formats that the descriptions of columns tell: none where numbers are plain.

    Numbers without separators, or without those of thousands, have the separators of other columns:
    in a file of decimal commas, a whole number may be 1.234 later.
    """
    numbers = [inferred.numbers for inferred in types if inferred.type in ("integer", "number")]
    decimals = {inferred.decimal for inferred in types} - {None}
    thousands = {format_.thousands for format_ in numbers} - {""}
    usual = options.number_format
    if usual is None and len(decimals) <= 1 and len(thousands) <= 1:
        usual = next(f for f in FORMATS if {f.decimal} >= decimals and {f.thousands} >= thousands)
    told: list[CellFormat | None] = []
    for inferred in types:
        format_ = inferred.format if inferred.type in ("integer", "number", "datetime") else None
        if isinstance(format_, NumberFormat):
            if (
                usual is not None
                and format_.thousands == ""
                and inferred.decimal in (None, usual.decimal)
            ):
                format_ = usual
            format_ = None if format_ == PLAIN else format_
        told.append(format_)
    return told


def typed_values(cells: pl.Expr, inferred: InferredType, missing: Sequence[str]) -> pl.Expr:
    """Return the values of a column of strings, null where a cell is missing or does not fit."""
    cell = present(cells, inferred.missing(missing))
    match inferred.type:
        case "integer":
            text = plain_text(cell, inferred.numbers).str.strip_suffix(".0")
            return text.cast(pl.Int64, strict=False)
        case "number":
            values = plain_text(cell, inferred.numbers).cast(pl.Float64, strict=False)
            return pl.when(values.is_finite()).then(values)
        case "boolean":
            return cell.str.to_lowercase().replace_strict(
                {"true": True, "false": False}, default=None, return_dtype=pl.Boolean
            )
        case "datetime":
            return date_values(cell, inferred.forms)
    return cell


def strict_values(cells: pl.Expr, inferred: InferredType) -> pl.Expr:
    """Return the dates, or the finite numbers without a unit, of stripped cells."""
    if inferred.type == "datetime":
        return date_values(cells, inferred.forms)
    values = bare_number_text(cells, inferred.numbers).cast(pl.Float64, strict=False)
    return pl.when(values.is_finite()).then(values)


def strictly(values: pl.Expr, cells: pl.Expr) -> pl.Expr:
    """Return the same values if each cell has one; computing them raises PolarsError if not."""
    return _unless(values.is_null() & cells.is_not_null(), values)


def finite(numbers: pl.Expr) -> pl.Expr:
    """Return the same numbers, null for NaN; computing them raises PolarsError for infinity."""
    return _unless(numbers.is_infinite(), numbers.fill_nan(None))


def _unless(is_wrong: pl.Expr, values: pl.Expr) -> pl.Expr:
    wrong = (-is_wrong.cast(pl.Int8)).cast(pl.UInt8, strict=True)  # no UInt8 is -1
    return pl.when(wrong == 0).then(values)


def has_warnings(inferred: InferredType) -> bool:
    """Return whether there may be something to tell of a column."""
    is_number = inferred.type in ("integer", "number")
    return (
        inferred.warning is not None
        or inferred.num_unfit > 0
        or (is_number and not inferred.is_plain)
    )


def warnings_of(
    cells: pl.LazyFrame, column: int, name: str, inferred: InferredType, missing: Sequence[str]
) -> list[str]:
    """Return what the owner of a column should know of how its cells were read."""
    warnings = [] if inferred.warning is None else [inferred.warning]
    if inferred.num_unfit:
        warnings.append(_unfit_cells(cells, column, name, inferred, missing))
    if inferred.type in ("integer", "number") and not inferred.is_plain:
        warnings += _units(cells.select(present(pl.nth(column), missing).alias("cell")))
    return warnings


def _unfit_cells(
    cells: pl.LazyFrame, column: int, name: str, inferred: InferredType, missing: Sequence[str]
) -> str:
    """Say which cells are of another type, with examples, and how to decide otherwise."""
    is_text = inferred.type == "text"
    fits: CellType = "datetime" if inferred.forms else "number"
    fitting = replace(inferred, type=fits) if is_text else inferred
    cell = present(pl.nth(column), missing)
    examples = (
        cells.select(
            num_cells=cell.count(),
            cell=cell,
            value=typed_values(pl.nth(column), fitting, missing),
        )
        .with_row_index("row", offset=1)
        .filter(pl.col("cell").is_not_null() & pl.col("value").is_null())
        .select(
            pl.col("num_cells").first(),
            pl.len().alias("num_unfit"),
            pl.struct("row", "cell").head(_NUM_EXAMPLES).implode(),
        )
        .collect()
    )
    num_cells, num_unfit, found = examples.row(0)
    such = ", ".join(f"{shown(example['cell'])} in row {example['row']}" for example in found)
    number = "finite number" if inferred.has_infinity else "number"
    what = {"datetime": "date", "boolean": "truth value"}.get(fitting.type, number)
    are, count = ("is no", "counts") if num_unfit == 1 else ("are no", "count")
    found_out = f"{num_unfit} of its {num_cells} values {are} {what}{'' if num_unfit == 1 else 's'}"
    declared = "datetime" if inferred.forms else "numeric"
    other = declared if is_text else "categorical"
    types = json.dumps({name: other}, ensure_ascii=False)
    if is_text:
        return f"{found_out}, so it stays text: {such}; with types={types} they count as missing"
    return f"{found_out} and {count} as missing: {such}; with types={types} it stays text"


def _units(cells: pl.LazyFrame) -> list[str]:
    """Warn of numbers that are written in several units."""
    cell = pl.col("cell")
    num_cells, num_percent, currencies = (
        cells.select(
            cell.count(),
            cell.str.ends_with("%").sum().alias("percent"),
            cell.str.extract(f"({CURRENCY})").drop_nulls().unique().sort().implode().alias("signs"),
        )
        .collect()
        .row(0)
    )
    warnings = []
    if 0 < num_percent < num_cells:
        warnings.append(
            f"{num_percent} of its {num_cells} numbers have a percent sign: 45% is 0.45, 45 is 45"
        )
    if len(currencies) > 1:
        signs = ", ".join(currencies)
        warnings.append(f"its amounts are in several currencies ({signs}) and are not converted")
    return warnings
