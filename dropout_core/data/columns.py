"""Describe the columns of a table: their types and statistics. Free of torch."""

import heapq
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any

import polars as pl
from pydantic import Field

from dropout_core.config import ColumnType, Config, FeatureType, added
from dropout_core.data.formats import CellFormat
from dropout_core.data.stored_types import StoredAs, as_stored, stored_as
from dropout_core.data.wide_tables import column_parts
from dropout_core.errors import DataError

MAX_INTEGER_CLASSES = 50

MAX_NAME_CHARACTERS = 200
"""The longest text that is the name of a class, or is shown whole in an answer."""

LONG_CLASS = (
    f"a value has more than {MAX_NAME_CHARACTERS} characters, which the name of a class cannot have"
)

MIN_IDENTIFIERS = 50
"""With fewer rows than this, a column of distinct values need not hold identifiers."""

_MAX_TOP_VALUES = 10
_NUM_COUNTED = 12_000  # count up to this estimate: it includes all true numbers up to 10,000
_MANY_DISTINCT = 100
_LONG_TEXT = 40  # characters
_WORDS_OF_PROSE = 3

RFC_3339 = "%Y-%m-%dT%H:%M:%S%.fZ"
_STATISTICS = ("minimum", "maximum", "mean", "standard_deviation")
_DATES = ("earliest", "latest")

# Names of columns of identifiers: id, user_id, userId, "Row No.", uuid.
_IDENTIFIER_NAME = re.compile(
    r"(?:(?:.*[\s_.-])?(?i:id|uuid|guid|key|index|idx|row|rownum|row[\s_]?(?:id|no\.?|number))"
    r"|.*[a-z](?:Id|ID|Uuid|UUID|Key|Index))",
    re.DOTALL,
)

# Names that libraries give to a column that only numbers the rows: pandas in Parquet, and for an
# index that becomes columns; polars, pandas and tibbles where a sheet or CSV has no name; R for the
# names of its rows.
_INDEX_NAME = re.compile(
    r"__index_level_\d+__|level_\d+|__UNNAMED__0|Unnamed: 0(?:\.\d+)?|Unnamed: 0_level_0|\.\.\.1"
    r"|(?i:row[._]?names?)"
)

TYPE_AS_STORED: dict[StoredAs, FeatureType] = {
    "number": "numeric",
    "boolean": "boolean",
    "text": "categorical",
    "datetime": "datetime",
}


class TopValue(Config):
    """A value and how many rows have it."""

    value: bool | int | float | str
    count: int


class Column(Config):
    """The description of a column.

    - `num_distinct` leaves missing values out; it is exact up to 10,000 and an estimate above.
    - Numbers have `minimum`, `maximum`, `mean` and `standard_deviation` (dividing by N); dates have
      `earliest` and `latest` (RFC 3339).
    - Booleans, categories and few whole numbers have `top_values`, the most frequent first; those
      of more than 200 characters are cut.
    - `format` says how the cells of a text file were written, unless numbers are plain as 1234.5.
    """

    name: str
    type: ColumnType
    stored_as: StoredAs
    integral: bool
    num_missing: int
    num_distinct: int
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None
    standard_deviation: float | None = None
    earliest: str | None = None
    latest: str | None = None
    top_values: Annotated[tuple[TopValue, ...], Field(strict=False)] = ()
    format: CellFormat | None = added(None)


def describe(table: pl.LazyFrame | pl.DataFrame, *, index: Collection[str] = ()) -> list[Column]:
    """Return the description of each column, in the table's order.

    Columns of `index`, and those named as libraries name an index, are identifiers. Reads each
    column twice, and holds few in memory: to estimate everything, then to count where
    that is cheap or decides the type. Raises DataError for a dtype that cannot be stored, and for a
    number that is not finite.
    """
    return [column for part in column_parts(table.lazy()) for column in _described(part, index)]


def _described(table: pl.LazyFrame, index: Collection[str]) -> list[Column]:
    stored = as_stored(table)
    schema = stored.collect_schema()
    summaries: list[dict[str, Any]] = [
        {
            "name": name,
            "stored_as": stored_as(dtype),
            "integral": dtype.is_integer(),
            "is_index": name in index or _INDEX_NAME.fullmatch(name) is not None,
        }
        for name, dtype in schema.items()
    ]
    for questions in (_first_questions, _second_questions):
        asked = [questions(pl.nth(i), summary) for i, summary in enumerate(summaries)]
        for summary, answers in zip(summaries, _ask(stored, asked), strict=True):
            summary |= answers
    return [_column(summary) for summary in summaries]


def _ask(table: pl.LazyFrame, questions: Sequence[Mapping[str, pl.Expr]]) -> list[dict[str, Any]]:
    """Return the answers to all questions about all columns; reads each column once."""
    asked = [question for column in questions for question in column.values()]
    numbered = [question.alias(str(i)) for i, question in enumerate(asked)]
    row = table.select(numbered).collect(engine="streaming").row(0) if asked else ()
    values = iter(row)
    return [{name: next(values) for name in column} for column in questions]


def _first_questions(values: pl.Expr, summary: Mapping[str, Any]) -> dict[str, pl.Expr]:
    questions = {
        "num_missing": values.null_count(),
        "num_values": values.count(),
        "num_distinct": values.approx_n_unique(),
    }
    if summary["stored_as"] == "number":
        questions |= {
            "minimum": values.min(),
            "maximum": values.max(),
            "mean": values.mean(),
            "standard_deviation": values.std(ddof=0),
        }
    elif summary["stored_as"] == "text":
        questions |= {
            "num_characters": values.str.len_chars().mean(),
            "num_words": values.str.count_matches(" ", literal=True).mean() + 1,
        }
    elif summary["stored_as"] == "datetime":
        # As text, because Python's dates end with the year 9999.
        questions |= {
            "earliest": values.min().cast(pl.Datetime("us")).dt.to_string(RFC_3339),
            "latest": values.max().cast(pl.Datetime("us")).dt.to_string(RFC_3339),
        }
    return questions


def _second_questions(values: pl.Expr, summary: Mapping[str, Any]) -> dict[str, pl.Expr]:
    """Return what to count: few distinct values, or a number that decides the type.

    Where a sum or square of large numbers was infinite, ask again with scaled numbers.
    """
    questions = {}
    if not _has_finite_statistics(summary):
        scale = float(max(abs(summary["minimum"]), abs(summary["maximum"])))
        questions["mean"] = (values / scale).mean() * scale
        questions["standard_deviation"] = (values / scale).std(ddof=0) * scale
    present = values.drop_nulls()
    estimate = summary["num_distinct"]
    if summary["stored_as"] == "number" and not summary["integral"]:
        is_listed = False
    elif summary["stored_as"] == "number":
        is_listed = estimate <= 1.2 * MAX_INTEGER_CLASSES
    else:
        is_listed = estimate <= _NUM_COUNTED and summary["stored_as"] != "datetime"
    if is_listed:
        questions["counts"] = present.alias("value").value_counts(name="count").implode()
    elif estimate <= _NUM_COUNTED or _may_decide(summary):
        questions["num_distinct"] = present.n_unique()
    return questions


def _has_finite_statistics(summary: Mapping[str, Any]) -> bool:
    statistics = (summary.get(name) for name in _STATISTICS)
    return all(value is None or math.isfinite(value) for value in statistics)


def _may_decide(summary: Mapping[str, Any]) -> bool:
    """Return whether the exact number of distinct values may decide the type.

    The estimate of HyperLogLog with 1024 registers is off by 3 % (one standard deviation).
    """
    share: float = summary["num_distinct"] / max(1, summary["num_values"])
    if summary["stored_as"] == "text":
        return 0.4 < share < 0.6
    if not summary["integral"]:
        return False
    if _is_named_as_identifiers(summary):
        return 0.4 < share < 0.6
    return share > 0.8 and _is_sequence(summary)


def _column(summary: Mapping[str, Any]) -> Column:
    if not _has_finite_statistics(summary):
        raise DataError("not all of its numbers are finite", column=summary["name"])
    counts = summary.get("counts")
    num_distinct = summary["num_distinct"] if counts is None else len(counts)
    num_distinct = min(num_distinct, summary["num_values"])  # an estimate may be larger
    type_ = _type({**summary, "num_distinct": num_distinct})
    return Column(
        name=summary["name"],
        type=type_,
        stored_as=summary["stored_as"],
        integral=summary["integral"],
        num_missing=summary["num_missing"],
        num_distinct=num_distinct,
        **{name: summary[name] for name in _STATISTICS + _DATES if name in summary},
        top_values=() if type_ in ("text", "identifier") else _top_values(counts or ()),
    )


def _type(summary: Mapping[str, Any]) -> ColumnType:
    if summary["num_distinct"] == 1 and not summary["num_missing"]:
        return "constant"
    if summary["is_index"]:
        return "identifier"
    if summary["stored_as"] == "text":
        return _type_of_text(summary)
    if summary["integral"] and _are_identifiers(summary):
        return "identifier"
    return TYPE_AS_STORED[summary["stored_as"]]


def _type_of_text(summary: Mapping[str, Any]) -> ColumnType:
    num_distinct, num_words = summary["num_distinct"], summary["num_words"] or 0
    is_long = (summary["num_characters"] or 0) > _LONG_TEXT
    are_many = num_distinct > _MANY_DISTINCT
    are_most = 2 * num_distinct > summary["num_values"]
    # Long text may still be one word, such as a hash.
    is_prose = num_words > _WORDS_OF_PROSE or (is_long and num_words >= 2)
    if is_prose and is_long + are_many + are_most >= 2:
        return "text"
    if not is_prose and (_are_all_different(summary) or _are_most_different(summary)):
        return "identifier"
    return "categorical"


def _are_identifiers(summary: Mapping[str, Any]) -> bool:
    """Return whether whole numbers count the rows, or are named as identifiers and rarely repeat.

    Rows that were drawn with replacement repeat their numbers.
    """
    if _are_all_different(summary) and _is_sequence(summary):
        return True
    are_different = _are_all_different(summary) or _are_most_different(summary)
    return are_different and _is_named_as_identifiers(summary)


def _are_most_different(summary: Mapping[str, Any]) -> bool:
    num_distinct: int = summary["num_distinct"]
    return num_distinct > _MANY_DISTINCT and bool(2 * num_distinct > summary["num_values"])


def _are_all_different(summary: Mapping[str, Any]) -> bool:
    return bool(MIN_IDENTIFIERS <= summary["num_values"] == summary["num_distinct"])


def _is_named_as_identifiers(summary: Mapping[str, Any]) -> bool:
    return _IDENTIFIER_NAME.fullmatch(summary["name"]) is not None


def _is_sequence(summary: Mapping[str, Any]) -> bool:
    return bool(summary["maximum"] - summary["minimum"] + 1 == summary["num_values"])


def _top_values(counts: Sequence[Mapping[str, Any]]) -> tuple[TopValue, ...]:
    most = heapq.nsmallest(_MAX_TOP_VALUES, counts, key=lambda c: (-c["count"], c["value"]))
    return tuple(TopValue(value=_cut(entry["value"]), count=entry["count"]) for entry in most)


def _cut(value: bool | int | float | str) -> bool | int | float | str:
    is_long = isinstance(value, str) and len(value) > MAX_NAME_CHARACTERS
    return f"{value[:MAX_NAME_CHARACTERS]}..." if is_long else value  # type: ignore[index]
