"""Type inference: what a column of text holds, by all of its cells."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import polars as pl

from dropout_core.data.by_name import exactly
from dropout_core.data.dates import CALENDARS, DateForm, date_values
from dropout_core.data.wide_tables import column_parts

NAMED_SHARE = 0.9  # a column so full of numbers that its words are worth a warning
_NUM_EXAMPLES = 3
_EXAMPLE_CHARS = 40

CellType = Literal["missing", "integer", "number", "boolean", "datetime", "text"]


@dataclass(frozen=True)
class CellCounts:
    """How many cells of a column are of each type, missing ones not counted.

    `num_dates` and the `forms` that occur are by calendar. `has_two_readings` says that a cell is
    another date with the day first than with the month first.
    """

    num_cells: int = 0
    num_numbers: int = 0
    num_integers: int = 0  # of 64 bits
    num_whole: int = 0  # integers of any length
    has_leading_zeros: bool = False
    num_booleans: int = 0
    num_dates: Mapping[str, int] = field(default_factory=dict)
    forms: Mapping[str, tuple[DateForm, ...]] = field(default_factory=dict)
    has_two_readings: bool = False


@dataclass(frozen=True)
class InferredType:
    """The type of a column, and how to read it: `forms` are those of its dates."""

    type: CellType
    forms: tuple[DateForm, ...] = ()
    is_certain: bool = True  # False if the cells to come may change the type
    warning: str | None = None
    unfit: str | None = None  # text that is almost all numbers or dates: what the rest is not


def count_cells(
    cells: pl.LazyFrame, columns: Iterable[int], missing: Sequence[str]
) -> list[CellCounts]:
    """Count the cells of these columns of strings, which are indices from 0."""
    parts = column_parts(cells.select(pl.nth(list(columns))))
    return [counts for part in parts for counts in _count_cells(part, missing)]


def _count_cells(cells: pl.LazyFrame, missing: Sequence[str]) -> list[CellCounts]:
    names = [str(column) for column in range(len(cells.collect_schema()))]
    cells = cells.select(pl.nth(int(name)).alias(name) for name in names)
    cells = cells.select(_cell(exactly(*names).as_expr(), missing))
    counts = dict.fromkeys(names, CellCounts())
    counts |= _update(cells, counts, _NUMBERS)
    counts |= _update(cells, _where(counts, lambda c: c.num_cells == c.num_numbers > 0), _DIGITS)
    others = _update(cells, _where(counts, lambda c: c.num_cells > c.num_numbers), _PATTERNS)
    for name in others:
        for calendar in CALENDARS:
            if others[name].num_dates[calendar]:
                others[name] = _with_dates(cells, name, others[name], calendar)
        if _has_two_orders(others[name]):
            others[name] = _with_two_readings(cells, name, others[name])
    counts |= others
    return list(counts.values())


def infer(counts: CellCounts) -> InferredType:
    """Return the type of a column, if these are all of its cells."""
    if counts.num_cells == 0:
        return InferredType("missing")
    if counts.num_numbers == counts.num_cells:
        return _infer_numbers(counts)
    if counts.num_booleans == counts.num_cells:
        return InferredType("boolean")
    if counts.has_two_readings:
        return InferredType(
            "text",
            is_certain=False,
            warning="its dates could begin with the day or with the month, so it stays text",
        )
    for calendar, num_dates in counts.num_dates.items():
        if num_dates == counts.num_cells:
            is_certain = not _has_two_orders(counts)
            return InferredType("datetime", counts.forms[calendar], is_certain=is_certain)
    return _infer_text(counts)


def _infer_numbers(counts: CellCounts) -> InferredType:
    if counts.num_whole < counts.num_cells:
        return InferredType("number")
    if counts.has_leading_zeros:
        return InferredType("text", is_certain=False)
    if counts.num_integers == counts.num_cells:
        return InferredType("integer")
    warning = "its whole numbers are longer than 64 bits, so it stays text"
    return InferredType("text", is_certain=False, warning=warning)


def _infer_text(counts: CellCounts) -> InferredType:
    num_dates = max(counts.num_dates.values(), default=0)
    num_fit = max(counts.num_numbers, num_dates)
    inferred = InferredType("text", is_certain=num_fit < 0.5 * counts.num_cells)
    if num_fit < NAMED_SHARE * counts.num_cells:
        return inferred
    if counts.num_numbers == num_fit:
        return replace(inferred, unfit="numbers")
    calendar = max(counts.num_dates, key=counts.num_dates.__getitem__)
    return replace(inferred, unfit="dates", forms=counts.forms[calendar])


def typed_values(column: int, inferred: InferredType, missing: Sequence[str]) -> pl.Expr:
    """Return the values of a column of strings, null where a cell is missing or does not fit."""
    if inferred.type in ("text", "missing"):
        return text_values(pl.nth(column), missing)
    cell = _cell(pl.nth(column), missing)
    match inferred.type:
        case "integer":
            return cell.cast(pl.Int64, strict=False)
        case "number":
            return cell.cast(pl.Float64, strict=False).fill_nan(None)
        case "boolean":
            return cell.str.to_lowercase().replace_strict(
                {"true": True, "false": False}, default=None, return_dtype=pl.Boolean
            )
        case _:
            return date_values(cell, inferred.forms)


def text_values(cells: pl.Expr, missing: Sequence[str]) -> pl.Expr:
    """Return the cells as they are, null where one is missing."""
    return pl.when(~cells.is_in(list(missing))).then(cells)


def strictly(values: pl.Expr, cells: pl.Expr) -> pl.Expr:
    """Return the same values if each cell has one; computing them raises PolarsError if not."""
    is_lost = values.is_null() & cells.is_not_null()
    lost = (-is_lost.cast(pl.Int8)).cast(pl.UInt8, strict=True)  # no UInt8 is -1
    return pl.when(lost == 0).then(values)


def unfit_cells(
    cells: pl.LazyFrame, column: int, inferred: InferredType, missing: Sequence[str]
) -> str:
    """Return a warning with examples for text that is almost all numbers or dates."""
    cell = _cell(pl.nth(column), missing)
    fits = (
        cell.cast(pl.Float64, strict=False)
        if inferred.unfit == "numbers"
        else date_values(cell, inferred.forms)
    )
    unfit = (
        cells.select(cell=cell, fits=fits.is_not_null())
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
    return f"{num_unfit} of {num_cells} values are no {inferred.unfit}, such as {such}"


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= _EXAMPLE_CHARS else cell[:_EXAMPLE_CHARS] + "...")


def _cell(cells: pl.Expr, missing: Sequence[str]) -> pl.Expr:
    """Return the cells without blanks around them, null where one is missing."""
    stripped = cells.str.strip_chars()
    return pl.when(~stripped.is_in(list(missing))).then(stripped)


Questions = Mapping[str, Callable[[pl.Expr], pl.Expr]]

_NUMBERS: Questions = {
    "num_cells": lambda cells: cells.count(),
    "num_numbers": lambda cells: cells.cast(pl.Float64, strict=False).count(),
    "num_integers": lambda cells: cells.cast(pl.Int64, strict=False).count(),
}
_DIGITS: Questions = {
    "num_whole": lambda cells: cells.str.contains("^[+-]?[0-9]+$").sum(),
    "has_leading_zeros": lambda cells: cells.str.contains("^0[0-9]+$").any(),
}
_PATTERNS: Questions = {
    "num_booleans": lambda cells: cells.str.to_lowercase().is_in(["true", "false"]).sum(),
    **{
        name: lambda cells, pattern=calendar.pattern: cells.str.contains(pattern).sum()  # type: ignore[misc]
        for name, calendar in CALENDARS.items()
    },
}


def _where(
    counts: Mapping[str, CellCounts], holds: Callable[[CellCounts], bool]
) -> dict[str, CellCounts]:
    return {name: count for name, count in counts.items() if holds(count)}


def _update(
    cells: pl.LazyFrame, counts: Mapping[str, CellCounts], questions: Questions
) -> dict[str, CellCounts]:
    """Count more of some columns, all in one pass."""
    if not counts:
        return {}
    asked = [
        ask(exactly(*counts).as_expr()).name.suffix(f" {name}") for name, ask in questions.items()
    ]
    answers = cells.select(asked).collect().row(0, named=True)
    updated = {}
    for column, count in counts.items():
        known = {name: answers[f"{column} {name}"] for name in questions}
        num_dates = {name: known.pop(name) for name in CALENDARS if name in known}
        updated[column] = replace(count, **known, num_dates=num_dates or count.num_dates)
    return updated


def _with_dates(cells: pl.LazyFrame, name: str, counts: CellCounts, calendar: str) -> CellCounts:
    """Count the cells that are dates, and not 2024-02-30, which only matches a pattern."""
    forms = CALENDARS[calendar].forms
    cell = exactly(name).as_expr()
    occurs = cells.select(
        cell.str.contains(form.pattern).any().alias(str(index)) for index, form in enumerate(forms)
    )
    found = occurs.collect().row(0)
    occurring = tuple(form for form, is_found in zip(forms, found, strict=True) if is_found)
    num_dates = cells.select(date_values(cell, occurring).count()).collect().item()
    return replace(
        counts,
        num_dates={**counts.num_dates, calendar: num_dates},
        forms={**counts.forms, calendar: occurring},
    )


def _has_two_orders(counts: CellCounts) -> bool:
    """Return whether all cells are dates with the day first, and with the month first."""
    day_first, month_first = counts.num_dates.get("day first"), counts.num_dates.get("month first")
    return day_first == month_first == counts.num_cells


def _with_two_readings(cells: pl.LazyFrame, name: str, counts: CellCounts) -> CellCounts:
    day_first, month_first = (
        date_values(exactly(name).as_expr(), counts.forms[order])
        for order in ("day first", "month first")
    )
    has_two_readings = cells.select((day_first != month_first).any()).collect().item()
    return replace(counts, has_two_readings=has_two_readings)
