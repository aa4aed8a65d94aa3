"""Describe the columns of a table: their types and statistics. Free of torch."""

import heapq
import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import polars as pl
from pydantic import Field

from dropout_core.config import ColumnType, Config, FeatureType
from dropout_core.data.stored_types import StoredAs, as_stored, stored_as
from dropout_core.errors import DataError

MAX_INTEGER_CLASSES = 50

MIN_IDENTIFIERS = 50
"""With fewer rows than this, a column of distinct values need not hold identifiers."""

_MAX_TOP_VALUES = 10
_NUM_COUNTED = 12_000  # count up to this estimate: it includes all true numbers up to 10,000
_MANY_DISTINCT = 100
_LONG_TEXT = 40  # characters
_WORDS_OF_PROSE = 3
_MAX_COLUMNS_AT_ONCE = 100  # polars takes more than linear time to plan for more

_RFC_3339 = "%Y-%m-%dT%H:%M:%S%.fZ"
_STATISTICS = ("minimum", "maximum", "mean", "standard_deviation")
_DATES = ("earliest", "latest")

# Names of columns of identifiers: id, user_id, userId, "Row No.", uuid.
_IDENTIFIER_NAME = re.compile(
    r"(?:(?:.*[\s_.-])?(?i:id|uuid|guid|key|index|idx|row|rownum|row[\s_]?(?:id|no\.?|number))"
    r"|.*[a-z](?:Id|ID|Uuid|UUID|Key|Index))",
    re.DOTALL,
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
    - Booleans, categories and few whole numbers have `top_values`, the most frequent first.
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


def describe(table: pl.LazyFrame | pl.DataFrame) -> list[Column]:
    """Return the description of each column, in the table's order.

    Reads the table twice, without holding it in memory: to estimate everything, then to count where
    that is cheap or decides the type. Raises DataError for a dtype that cannot be stored, and for a
    number that is not finite.
    """
    stored = as_stored(table.lazy())
    schema = stored.collect_schema()
    first = [_first_questions(i, stored_as(dtype)) for i, dtype in enumerate(schema.dtypes())]
    summaries = _ask(stored, first)
    for i, (name, dtype) in enumerate(schema.items()):
        summaries[i] |= {
            "name": name,
            "stored_as": stored_as(dtype),
            "integral": dtype.is_integer(),
        }
    summaries = _with_finite_statistics(stored, summaries)
    counted = _ask(stored, [_second_questions(i, summary) for i, summary in enumerate(summaries)])
    return [_column(column | count) for column, count in zip(summaries, counted, strict=True)]


def _ask(table: pl.LazyFrame, questions: Sequence[Mapping[str, pl.Expr]]) -> list[dict[str, Any]]:
    """Return the answers to all questions about all columns; reads each column once."""
    answers: list[dict[str, Any]] = []
    for start in range(0, len(questions), _MAX_COLUMNS_AT_ONCE):
        columns = questions[start : start + _MAX_COLUMNS_AT_ONCE]
        asked = [question for column in columns for question in column.values()]
        numbered = [question.alias(str(i)) for i, question in enumerate(asked)]
        row = table.select(numbered).collect(engine="streaming").row(0) if asked else ()
        values = iter(row)
        answers += [{name: next(values) for name in column} for column in columns]
    return answers


def _first_questions(index: int, stored_as: StoredAs) -> dict[str, pl.Expr]:
    values = pl.nth(index)
    questions = {
        "num_missing": values.null_count(),
        "num_values": values.count(),
        "num_distinct": values.approx_n_unique(),
    }
    if stored_as == "number":
        questions |= {
            "minimum": values.min(),
            "maximum": values.max(),
            "mean": values.mean(),
            "standard_deviation": values.std(ddof=0),
        }
    elif stored_as == "text":
        questions |= {
            "num_characters": values.str.len_chars().mean(),
            "num_words": values.str.count_matches(" ", literal=True).mean() + 1,
        }
    elif stored_as == "datetime":
        # As text, because Python's dates end with the year 9999.
        questions |= {
            "earliest": values.min().cast(pl.Datetime("us")).dt.to_string(_RFC_3339),
            "latest": values.max().cast(pl.Datetime("us")).dt.to_string(_RFC_3339),
        }
    return questions


def _second_questions(index: int, summary: Mapping[str, Any]) -> dict[str, pl.Expr]:
    """Return what to count: few distinct values, or a number that decides the type."""
    values = pl.nth(index).drop_nulls()
    estimate = summary["num_distinct"]
    if summary["stored_as"] == "number" and not summary["integral"]:
        is_listed = False
    elif summary["stored_as"] == "number":
        is_listed = estimate <= 1.2 * MAX_INTEGER_CLASSES
    else:
        is_listed = estimate <= _NUM_COUNTED and summary["stored_as"] != "datetime"
    if is_listed:
        return {"counts": values.alias("value").value_counts(name="count").implode()}
    if estimate <= _NUM_COUNTED or _may_decide(summary):
        return {"num_distinct": values.n_unique()}
    return {}


def _may_decide(summary: Mapping[str, Any]) -> bool:
    """Return whether the exact number of distinct values may decide the type.

    The estimate of HyperLogLog with 1024 registers is off by 3 % (one standard deviation).
    """
    share: float = summary["num_distinct"] / max(1, summary["num_values"])
    if summary["stored_as"] == "text":
        return 0.4 < share < 0.6
    return bool(summary["integral"]) and share > 0.8 and _counts_rows(summary)


def _column(summary: Mapping[str, Any]) -> Column:
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
    if summary["stored_as"] == "text":
        return _type_of_text(summary)
    if summary["integral"] and _are_all_different(summary) and _counts_rows(summary):
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
    if not is_prose and (_are_all_different(summary) or (are_many and are_most)):
        return "identifier"
    return "categorical"


def _are_all_different(summary: Mapping[str, Any]) -> bool:
    return bool(MIN_IDENTIFIERS <= summary["num_values"] == summary["num_distinct"])


def _counts_rows(summary: Mapping[str, Any]) -> bool:
    """Return whether distinct whole numbers are a sequence, or named as identifiers are."""
    if _IDENTIFIER_NAME.fullmatch(summary["name"]):
        return True
    return bool(summary["maximum"] - summary["minimum"] + 1 == summary["num_values"])


def _top_values(counts: Sequence[Mapping[str, Any]]) -> tuple[TopValue, ...]:
    most = heapq.nsmallest(_MAX_TOP_VALUES, counts, key=lambda c: (-c["count"], c["value"]))
    return tuple(TopValue(value=entry["value"], count=entry["count"]) for entry in most)


def _with_finite_statistics(
    table: pl.LazyFrame, summaries: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Ask again with scaled numbers where a sum or square of large numbers was infinite.

    Raises DataError if the numbers themselves are not finite.
    """
    scales = [_scale_of_large(summary) for summary in summaries]
    if all(scale is None for scale in scales):
        return summaries
    again = _ask(
        table,
        [
            {}
            if scale is None
            else {
                "mean": (pl.nth(i) / scale).mean() * scale,
                "standard_deviation": (pl.nth(i) / scale).std(ddof=0) * scale,
            }
            for i, scale in enumerate(scales)
        ],
    )
    for summary, statistics in zip(summaries, again, strict=True):
        if not all(math.isfinite(value) for value in statistics.values()):
            raise DataError("not all of its numbers are finite", column=summary["name"])
        summary |= statistics
    return summaries


def _scale_of_large(summary: Mapping[str, Any]) -> float | None:
    statistics = [summary[name] for name in _STATISTICS if summary.get(name) is not None]
    if all(math.isfinite(value) for value in statistics):
        return None
    return float(max(abs(summary["minimum"]), abs(summary["maximum"])))
