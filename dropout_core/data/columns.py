"""What a table's columns are, and which of them a job can use how. Free of torch."""

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
"""In fewer rows than this, values that are all different say nothing."""

_MAX_TOP_VALUES = 10
_NUM_COUNTED = 12_000  # by estimate: few enough to be counted, and surely all up to 10,000
_MANY_DISTINCT = 100
_LONG_TEXT = 40  # characters
_WORDS_OF_PROSE = 3
_MAX_COLUMNS_AT_ONCE = 100  # polars takes more than linear time to plan for more

_RFC_3339 = "%Y-%m-%dT%H:%M:%S%.fZ"
_STATISTICS = ("minimum", "maximum", "mean", "standard_deviation")
_DATES = ("earliest", "latest")

# What such a column is called: id, user_id, userId, "Row No.", uuid.
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
    """A column as it was found.

    - `num_distinct` does not count what is missing; it is exact up to 10,000 and an estimate above.
    - `minimum`, `maximum`, `mean` and `standard_deviation` (of the values themselves, not of a
      population behind them) are of numbers, `earliest` and `latest` (RFC 3339) of dates.
    - `top_values` are the most frequent first, of booleans, categories and few whole numbers.
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
    """One Column for each of the table's, in its order.

    The table is read twice, without being held in memory: for estimates of everything, then to
    count where that is cheap or decides something. Raises DataError for a column that is neither
    of numbers, all of them finite, nor of booleans, text or dates.
    """
    stored = as_stored(table.lazy())
    schema = stored.collect_schema()
    first = [_first_questions(i, stored_as(dtype)) for i, dtype in enumerate(schema.dtypes())]
    found = _ask(stored, first)
    for i, (name, dtype) in enumerate(schema.items()):
        found[i] |= {
            "name": name,
            "stored_as": stored_as(dtype),
            "integral": dtype.is_integer(),
        }
    found = _with_finite_statistics(stored, found)
    counted = _ask(stored, [_second_questions(i, column) for i, column in enumerate(found)])
    return [_column(column | count) for column, count in zip(found, counted, strict=True)]


def _ask(table: pl.LazyFrame, questions: Sequence[Mapping[str, pl.Expr]]) -> list[dict[str, Any]]:
    """The answers to all questions about all columns, each column being read once."""
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
        # As text: Python's dates end with the year 9999.
        questions |= {
            "earliest": values.min().cast(pl.Datetime("us")).dt.to_string(_RFC_3339),
            "latest": values.max().cast(pl.Datetime("us")).dt.to_string(_RFC_3339),
        }
    return questions


def _second_questions(index: int, found: Mapping[str, Any]) -> dict[str, pl.Expr]:
    """What has to be counted: little enough to count, or what the type hangs on."""
    values = pl.nth(index).drop_nulls()
    estimate = found["num_distinct"]
    if found["stored_as"] == "number" and not found["integral"]:
        is_listed = False
    elif found["stored_as"] == "number":
        is_listed = estimate <= 1.2 * MAX_INTEGER_CLASSES
    else:
        is_listed = estimate <= _NUM_COUNTED and found["stored_as"] != "datetime"
    if is_listed:
        return {"counts": values.alias("value").value_counts(name="count").implode()}
    if estimate <= _NUM_COUNTED or _may_decide(found):
        return {"num_distinct": values.n_unique()}
    return {}


def _may_decide(found: Mapping[str, Any]) -> bool:
    """Whether the exact number of distinct values may decide the type.

    The estimate of HyperLogLog with 1024 registers is off by 3 % (one standard deviation).
    """
    share: float = found["num_distinct"] / max(1, found["num_values"])
    if found["stored_as"] == "text":
        return 0.4 < share < 0.6
    return bool(found["integral"]) and share > 0.8 and _counts_rows(found)


def _column(found: Mapping[str, Any]) -> Column:
    counts = found.get("counts")
    num_distinct = found["num_distinct"] if counts is None else len(counts)
    num_distinct = min(num_distinct, found["num_values"])  # as an estimate may not be
    type_ = _type({**found, "num_distinct": num_distinct})
    return Column(
        name=found["name"],
        type=type_,
        stored_as=found["stored_as"],
        integral=found["integral"],
        num_missing=found["num_missing"],
        num_distinct=num_distinct,
        **{name: found[name] for name in _STATISTICS + _DATES if name in found},
        top_values=() if type_ in ("text", "identifier") else _top_values(counts or ()),
    )


def _type(found: Mapping[str, Any]) -> ColumnType:
    if found["num_distinct"] == 1 and not found["num_missing"]:
        return "constant"
    if found["stored_as"] == "text":
        return _type_of_text(found)
    if found["integral"] and _are_all_different(found) and _counts_rows(found):
        return "identifier"
    return TYPE_AS_STORED[found["stored_as"]]


def _type_of_text(found: Mapping[str, Any]) -> ColumnType:
    num_distinct, num_words = found["num_distinct"], found["num_words"] or 0
    is_long = (found["num_characters"] or 0) > _LONG_TEXT
    are_many = num_distinct > _MANY_DISTINCT
    are_most = 2 * num_distinct > found["num_values"]
    # What is long may still be one word, such as a hash.
    is_prose = num_words > _WORDS_OF_PROSE or (is_long and num_words >= 2)
    if is_prose and is_long + are_many + are_most >= 2:
        return "text"
    if not is_prose and (_are_all_different(found) or (are_many and are_most)):
        return "identifier"
    return "categorical"


def _are_all_different(found: Mapping[str, Any]) -> bool:
    return bool(MIN_IDENTIFIERS <= found["num_values"] == found["num_distinct"])


def _counts_rows(found: Mapping[str, Any]) -> bool:
    """Whether whole numbers that are all different are a sequence, or called an identifier."""
    if _IDENTIFIER_NAME.fullmatch(found["name"]):
        return True
    return bool(found["maximum"] - found["minimum"] + 1 == found["num_values"])


def _top_values(counts: Sequence[Mapping[str, Any]]) -> tuple[TopValue, ...]:
    most = heapq.nsmallest(_MAX_TOP_VALUES, counts, key=lambda c: (-c["count"], c["value"]))
    return tuple(TopValue(value=entry["value"], count=entry["count"]) for entry in most)


def _with_finite_statistics(
    table: pl.LazyFrame, found: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Where sums or squares of large numbers were infinite, ask again for smaller ones.

    Raises DataError if the numbers themselves are not finite.
    """
    scales = [_scale_of_large(fact) for fact in found]
    if all(scale is None for scale in scales):
        return found
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
    for fact, moments in zip(found, again, strict=True):
        if not all(math.isfinite(moment) for moment in moments.values()):
            raise DataError("not all of its numbers are finite", column=fact["name"])
        fact |= moments
    return found


def _scale_of_large(found: Mapping[str, Any]) -> float | None:
    moments = [found[name] for name in _STATISTICS if found.get(name) is not None]
    if all(math.isfinite(moment) for moment in moments):
        return None
    return float(max(abs(found["minimum"]), abs(found["maximum"])))
