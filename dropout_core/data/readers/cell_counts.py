"""Count what the cells of a column of text could be: numbers, dates, truth values, words."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import polars as pl

from dropout_core.config import FeatureType
from dropout_core.data.by_name import exactly
from dropout_core.data.dates import CALENDARS, DateForm, date_values
from dropout_core.data.formats import NumberFormat
from dropout_core.data.parsing import PLAIN, bare_number_text, number_pattern, number_text
from dropout_core.data.read_options import ReadOptions
from dropout_core.data.wide_tables import column_parts

K = TypeVar("K")
_DOTTED = NumberFormat(decimal=",", thousands=".")  # could be plain decimal numbers
_WHOLE = "^[+-]?[0-9]+$"
_POINTED = r"^-?[0-9]{1,15}\.0$"  # a Float64 holds 15 digits exactly


@dataclass(frozen=True)
class CellCounts:
    """How many cells of a column are of each type, missing ones not counted.

    Numbers are those in `format`, which fits most cells. `other_format` fits as many, and reads
    other numbers. `num_dates` and the `forms` that occur are by calendar. `has_two_readings` says
    that a cell is another date with the day first than with the month first.
    """

    num_cells: int = 0
    num_numbers: int = 0
    num_infinite: int = 0  # of the numbers
    num_integers: int = 0  # of 64 bits
    num_whole: int = 0  # integers of any length
    num_dotted: int = 0  # cells as 1.234 or 12, counted among plain numbers
    num_bare: int = 0  # of the numbers in `format`, those without a unit
    num_pointed: int = 0  # cells as 12.0, counted among plain numbers
    num_missing: int = 0
    has_leading_zeros: bool = False
    num_distinct: int = 0  # of the numbers; 0 where all cells are plain numbers
    format: NumberFormat = PLAIN
    other_format: NumberFormat | None = None
    has_one_decimal: bool = False  # no format with the other decimal separator fits as many
    num_booleans: int = 0
    num_plus: int = 0
    num_dates: Mapping[str, int] = field(default_factory=dict)
    forms: Mapping[str, tuple[DateForm, ...]] = field(default_factory=dict)
    has_two_readings: bool = False

    @property
    def has_two_orders(self) -> bool:
        """Return whether all cells are dates with the day first, and with the month first."""
        orders = (self.num_dates.get("day first"), self.num_dates.get("month first"))
        return orders == (self.num_cells, self.num_cells)


def count_cells(
    cells: pl.LazyFrame,
    columns: Sequence[int],
    options: ReadOptions,
    types: Mapping[int, FeatureType],
) -> list[CellCounts]:
    """Count the cells of these columns of strings, which are indices from 0.

    What cannot decide the type is not counted; `types` are those that the options give.
    """
    counts: list[CellCounts] = []
    for part in column_parts(cells.select(pl.nth(columns))) if columns else ():
        indices = columns[len(counts) : len(counts) + len(part.collect_schema())]
        counts += _count_part(part, options, [types.get(index) for index in indices])
    return counts


def _count_part(
    cells: pl.LazyFrame, options: ReadOptions, types: Sequence[FeatureType | None]
) -> list[CellCounts]:
    names = [str(index) for index in range(len(types))]
    cells = cells.select(pl.nth(int(name)).alias(name) for name in names)
    cells = cells.select(present(exactly(*names).as_expr(), options.missing_words))
    counts = dict.fromkeys(names, CellCounts())
    counts |= _update(cells, counts, _plain_questions(options))
    counts |= _update(cells, _where(counts, lambda c: c.num_cells == c.num_numbers > 0), _DIGITS)
    others = _where(counts, lambda c: c.num_cells > c.num_numbers)
    others = _update(cells, others, _WORDS)
    num_fit = {
        name: list(fit.values())
        for name, fit in _ask_each(cells, others, _format_questions(options)).items()
        if 2 * max(fit.values()) >= others[name].num_cells or types[int(name)] == "numeric"
    }
    counts |= _with_formats(cells, others, num_fit, options)
    asked = counts if options.date_format is not None else others
    alike = {
        name: [calendar for calendar, num in found.items() if num]
        for name, found in _ask_each(cells, asked, _date_questions(options)).items()
        if any(found.values())
    }
    counts |= _with_dates(cells, counts, alike, options)
    return list(counts.values())


def present(cells: pl.Expr, missing: Sequence[str]) -> pl.Expr:
    """Return the cells without white space around them, null where one is missing."""
    stripped = cells.str.strip_chars()
    return pl.when(~stripped.is_in(list(missing))).then(stripped)


def plain_text(cells: pl.Expr, format_: NumberFormat) -> pl.Expr:
    """Return numbers in a format as plain text, null where a cell is no number."""
    text = number_text(cells, format_)
    if format_ != PLAIN:
        return text
    is_plain = cells.cast(pl.Float64, strict=False).is_not_null()
    return pl.when(is_plain).then(cells).otherwise(text)


Questions = Mapping[str, Callable[[pl.Expr], pl.Expr]]

_DIGITS: Questions = {
    "num_whole": lambda cells: cells.str.contains(_WHOLE).sum(),
    "has_leading_zeros": lambda cells: cells.str.contains("^0[0-9]+$").any(),
    "num_pointed": lambda cells: cells.str.contains(_POINTED).sum(),
    "num_dotted": lambda cells: cells.str.contains(number_pattern(_DOTTED)).sum(),
}
_WORDS: Questions = {
    "num_booleans": lambda cells: cells.str.to_lowercase().is_in(["true", "false"]).sum(),
    "num_plus": lambda cells: (cells == "+").sum(),
}


def _plain_questions(options: ReadOptions) -> Questions:
    def plain(cells: pl.Expr) -> pl.Expr:
        return (
            cells if PLAIN in options.formats else pl.when(cells.str.contains(_WHOLE)).then(cells)
        )

    return {
        "num_cells": lambda cells: cells.count(),
        "num_missing": lambda cells: cells.null_count(),
        "num_numbers": lambda cells: plain(cells).cast(pl.Float64, strict=False).count(),
        "num_infinite": lambda cells: cells.cast(pl.Float64, strict=False).is_infinite().sum(),
        "num_integers": lambda cells: cells.cast(pl.Int64, strict=False).count(),
    }


def _format_questions(options: ReadOptions) -> Questions:
    patterns = [number_pattern(format_) for format_ in options.formats]
    return {
        str(index): lambda cells, pattern=pattern: cells.str.contains(pattern).sum()  # type: ignore[misc]
        for index, pattern in enumerate(patterns)
    }


def _date_questions(options: ReadOptions) -> Questions:
    return {
        name: lambda cells, pattern=calendar.pattern: cells.str.contains(pattern).sum()  # type: ignore[misc]
        for name, calendar in options.calendars.items()
    }


def _where(
    counts: Mapping[str, CellCounts], holds: Callable[[CellCounts], bool]
) -> dict[str, CellCounts]:
    return {name: count for name, count in counts.items() if holds(count)}


def _update(
    cells: pl.LazyFrame, counts: Mapping[str, CellCounts], questions: Questions
) -> dict[str, CellCounts]:
    answers = _ask_each(cells, counts, questions)
    return {name: replace(count, **answers[name]) for name, count in counts.items()}


def _ask_each(
    cells: pl.LazyFrame, names: Iterable[str], questions: Questions
) -> dict[str, dict[str, Any]]:
    """Ask the questions about each of the columns, all in one pass."""
    columns = list(names)
    if not columns or not questions:
        return {}
    asked = [
        ask(exactly(*columns).as_expr()).name.suffix(f" {name}") for name, ask in questions.items()
    ]
    answers = cells.select(asked).collect().row(0, named=True)
    return {column: {name: answers[f"{column} {name}"] for name in questions} for column in columns}


def _groups(keys: Mapping[str, K]) -> dict[K, list[str]]:
    """Return the columns of each key, to ask them the same questions at once."""
    groups: dict[K, list[str]] = {}
    for column, key in keys.items():
        groups.setdefault(key, []).append(column)
    return groups


def _with_formats(
    cells: pl.LazyFrame,
    counts: Mapping[str, CellCounts],
    num_fit: Mapping[str, Sequence[int]],
    options: ReadOptions,
) -> dict[str, CellCounts]:
    """Count the numbers in the format that fits most cells; of equals, the first."""
    updated = dict(counts)
    fitting = {
        name: tuple(index for index, num in enumerate(fit) if num == max(fit))
        for name, fit in num_fit.items()
    }
    for indices, names in _groups(fitting).items():
        best, *formats = (options.formats[index] for index in indices)
        others = [format_ for format_ in formats if format_.decimal != best.decimal]
        for name, found in _ask_each(cells, names, _number_questions(best, others)).items():
            differ = [found.pop(f"other {index}") for index in range(len(others))]
            updated[name] = replace(
                counts[name],
                format=best,
                other_format=next((f for f, d in zip(others, differ, strict=True) if d), None),
                has_one_decimal=found["num_whole"] < found["num_numbers"] and not others,
                **found,
            )
    return updated


def _number_questions(best: NumberFormat, others: Sequence[NumberFormat]) -> Questions:
    def text(cells: pl.Expr) -> pl.Expr:
        return plain_text(cells, best)

    return {
        "num_numbers": lambda cells: text(cells).cast(pl.Float64, strict=False).count(),
        "num_integers": lambda cells: text(cells).cast(pl.Int64, strict=False).count(),
        "num_whole": lambda cells: text(cells).str.contains(_WHOLE).sum(),
        "has_leading_zeros": lambda cells: (
            text(cells).str.contains("^0[0-9]+$").any().fill_null(False)
        ),
        "num_bare": lambda cells: bare_number_text(cells, best).count(),
        "num_distinct": lambda cells: text(cells).n_unique(),
        **{
            f"other {index}": lambda cells, other=other: (  # type: ignore[misc]
                (number_text(cells, other) != text(cells)).any()
            )
            for index, other in enumerate(others)
        },
    }


def _with_dates(
    cells: pl.LazyFrame,
    counts: Mapping[str, CellCounts],
    alike: Mapping[str, Sequence[str]],
    options: ReadOptions,
) -> dict[str, CellCounts]:
    """Count the cells that are dates, and not 2024-02-30, which only matches a pattern."""
    shapes = _ask_each(cells, alike, {"shapes": _date_shapes})
    forms = {
        name: tuple((c, options.calendars[c].forms_of(shapes[name]["shapes"])) for c in calendars)
        for name, calendars in alike.items()
    }
    asked = [
        question.alias(f"{name} {asks}")
        for name, occurring in forms.items()
        for asks, question in _date_counts(exactly(name).as_expr(), dict(occurring)).items()
    ]
    answers = cells.select(asked).collect().row(0, named=True) if asked else {}
    updated = {}
    for name, occurring in forms.items():
        num_dates = {calendar: answers[f"{name} {calendar}"] for calendar, _ in occurring}
        count = replace(counts[name], num_dates=num_dates, forms=dict(occurring))
        has_two = count.has_two_orders and answers[f"{name} has_two_readings"]
        updated[name] = replace(count, has_two_readings=has_two)
    return updated


def _date_counts(cells: pl.Expr, forms: Mapping[str, tuple[DateForm, ...]]) -> dict[str, pl.Expr]:
    """Return the questions about one column: `coalesce` takes no columns one by one."""
    dates = {calendar: date_values(cells, of_calendar) for calendar, of_calendar in forms.items()}
    questions = {calendar: values.count() for calendar, values in dates.items()}
    if {"day first", "month first"} <= set(dates):
        questions["has_two_readings"] = (dates["day first"] != dates["month first"]).any()
    return questions


def _date_shapes(cells: pl.Expr) -> pl.Expr:
    """Return the distinct dates with 9 for each digit: they match the same forms."""
    any_date = "|".join(calendar.pattern for calendar in CALENDARS.values())
    dates = cells.filter(cells.str.contains(any_date))
    return dates.str.replace_all("[0-9]", "9").unique().implode()
