"""What a table's columns are, and which of them a job can use how. Free of torch."""

import heapq
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn

import polars as pl
from pydantic import Field

from dropout_core.config import ColumnType, Config, FeatureType, SplitConfig, Task
from dropout_core.errors import DataError

MAX_INTEGER_CLASSES = 50
MAX_CLASSES = 10_000

MIN_IDENTIFIERS = 50
"""In fewer rows than this, values that are all different say nothing."""

_MAX_TOP_VALUES = 10
_NUM_COUNTED = 12_000  # by estimate: few enough to be counted, and surely all up to 10,000
_MANY_DISTINCT = 100
_LONG_TEXT = 40  # characters
_WORDS_OF_PROSE = 3
_MAX_NAMES = 5  # in one warning
_MAX_COLUMNS_AT_ONCE = 100  # polars takes more than linear time to plan for more

_RFC_3339 = "%Y-%m-%dT%H:%M:%S%.fZ"
_MOMENTS = ("minimum", "maximum", "mean", "standard_deviation")
_DATES = ("earliest", "latest")

# What such a column is called: id, user_id, userId, "Row No.", uuid.
_IDENTIFIER_NAME = re.compile(
    r"(?:(?:.*[\s_.-])?(?i:id|uuid|guid|key|index|idx|row|rownum|row[\s_]?(?:id|no\.?|number))"
    r"|.*[a-z](?:Id|ID|Uuid|UUID|Key|Index))",
    re.DOTALL,
)

StoredAs = Literal["number", "boolean", "text", "datetime"]

_TYPE_AS_STORED: dict[StoredAs, FeatureType] = {
    "number": "numeric",
    "boolean": "boolean",
    "text": "categorical",
    "datetime": "datetime",
}
_PLURAL: dict[StoredAs, str] = {
    "number": "numbers",
    "boolean": "booleans",
    "text": "words",
    "datetime": "dates",
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


@dataclass(frozen=True)
class Selection:
    """The columns of a task, each known to be usable; what their user should know."""

    targets: tuple[str, ...]
    features: dict[str, FeatureType]
    task: Task
    weight: str | None
    warnings: tuple[str, ...]


def describe(table: pl.LazyFrame | pl.DataFrame) -> list[Column]:
    """One Column for each of the table's, in its order.

    The table is read twice, without being held in memory: for estimates of everything, then to
    count where that is cheap or decides something. Raises DataError for a column that is neither
    of numbers, all of them finite, nor of booleans, text or dates.
    """
    lazy = table.lazy()
    schema = lazy.collect_schema()
    stored_as = [_stored_as(name, dtype) for name, dtype in schema.items()]
    facts = _ask(lazy, [_first_questions(i, kind) for i, kind in enumerate(stored_as)])
    for i, (name, dtype) in enumerate(schema.items()):
        facts[i] |= {"name": name, "stored_as": stored_as[i], "integral": dtype.is_integer()}
    facts = _with_finite_moments(lazy, facts)
    counted = _ask(lazy, [_second_questions(i, fact) for i, fact in enumerate(facts)])
    return [_column(fact | count) for fact, count in zip(facts, counted, strict=True)]


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


def _stored_as(name: str, dtype: pl.DataType) -> StoredAs:
    if dtype.is_integer() or dtype.is_float():
        return "number"
    if dtype == pl.Boolean:
        return "boolean"
    if dtype == pl.String:
        return "text"
    if dtype == pl.Date or (isinstance(dtype, pl.Datetime) and dtype.time_zone is None):
        return "datetime"
    raise DataError(f"values of type {dtype} are not supported", column=name)


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


def _second_questions(index: int, facts: Mapping[str, Any]) -> dict[str, pl.Expr]:
    """What has to be counted: little enough to count, or what the type hangs on."""
    values = pl.nth(index).drop_nulls()
    estimate = facts["num_distinct"]
    if facts["stored_as"] == "number" and not facts["integral"]:
        is_listed = False
    elif facts["stored_as"] == "number":
        is_listed = estimate <= 1.2 * MAX_INTEGER_CLASSES
    else:
        is_listed = estimate <= _NUM_COUNTED and facts["stored_as"] != "datetime"
    if is_listed:
        return {"counts": values.alias("value").value_counts(name="count").implode()}
    if estimate <= _NUM_COUNTED or _may_decide(facts):
        return {"num_distinct": values.n_unique()}
    return {}


def _may_decide(facts: Mapping[str, Any]) -> bool:
    """Whether the exact number of distinct values may decide the type.

    The estimate of HyperLogLog with 1024 registers is off by 3 % (one standard deviation).
    """
    share: float = facts["num_distinct"] / max(1, facts["num_values"])
    if facts["stored_as"] == "text":
        return 0.4 < share < 0.6
    return bool(facts["integral"]) and share > 0.8 and _counts_rows(facts)


def _column(facts: Mapping[str, Any]) -> Column:
    counts = facts.get("counts")
    num_distinct = facts["num_distinct"] if counts is None else len(counts)
    num_distinct = min(num_distinct, facts["num_values"])  # as an estimate may not be
    type_ = _type({**facts, "num_distinct": num_distinct})
    return Column(
        name=facts["name"],
        type=type_,
        stored_as=facts["stored_as"],
        integral=facts["integral"],
        num_missing=facts["num_missing"],
        num_distinct=num_distinct,
        **{name: facts[name] for name in _MOMENTS + _DATES if name in facts},
        top_values=() if type_ in ("text", "identifier") else _top_values(counts or ()),
    )


def _type(facts: Mapping[str, Any]) -> ColumnType:
    if facts["num_distinct"] == 1 and not facts["num_missing"]:
        return "constant"
    if facts["stored_as"] == "text":
        return _type_of_text(facts)
    if facts["integral"] and _are_all_different(facts) and _counts_rows(facts):
        return "identifier"
    return _TYPE_AS_STORED[facts["stored_as"]]


def _type_of_text(facts: Mapping[str, Any]) -> ColumnType:
    num_distinct, num_words = facts["num_distinct"], facts["num_words"] or 0
    is_long = (facts["num_characters"] or 0) > _LONG_TEXT
    are_many = num_distinct > _MANY_DISTINCT
    are_most = 2 * num_distinct > facts["num_values"]
    # What is long may still be one word, such as a hash.
    is_prose = num_words > _WORDS_OF_PROSE or (is_long and num_words >= 2)
    if is_prose and is_long + are_many + are_most >= 2:
        return "text"
    if not is_prose and (_are_all_different(facts) or (are_many and are_most)):
        return "identifier"
    return "categorical"


def _are_all_different(facts: Mapping[str, Any]) -> bool:
    return bool(MIN_IDENTIFIERS <= facts["num_values"] == facts["num_distinct"])


def _counts_rows(facts: Mapping[str, Any]) -> bool:
    """Whether whole numbers that are all different are a sequence, or called an identifier."""
    if _IDENTIFIER_NAME.fullmatch(facts["name"]):
        return True
    return bool(facts["maximum"] - facts["minimum"] + 1 == facts["num_values"])


def _top_values(counts: Sequence[Mapping[str, Any]]) -> tuple[TopValue, ...]:
    most = heapq.nsmallest(_MAX_TOP_VALUES, counts, key=lambda c: (-c["count"], c["value"]))
    return tuple(TopValue(value=entry["value"], count=entry["count"]) for entry in most)


def _with_finite_moments(table: pl.LazyFrame, facts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Where sums or squares of large numbers were infinite, ask again for smaller ones.

    Raises DataError if the numbers themselves are not finite.
    """
    scales = [_scale_of_large(fact) for fact in facts]
    if all(scale is None for scale in scales):
        return facts
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
    for fact, moments in zip(facts, again, strict=True):
        if not all(math.isfinite(moment) for moment in moments.values()):
            raise DataError("not all of its numbers are finite", column=fact["name"])
        fact |= moments
    return facts


def _scale_of_large(facts: Mapping[str, Any]) -> float | None:
    moments = [facts[name] for name in _MOMENTS if facts.get(name) is not None]
    if all(math.isfinite(moment) for moment in moments):
        return None
    return float(max(abs(facts["minimum"]), abs(facts["maximum"])))


def select(
    columns: Sequence[Column],
    *,
    target: str | Sequence[str],
    features: Sequence[str] | None = None,
    types: Mapping[str, FeatureType] | None = None,
    weight: str | None = None,
    split: SplitConfig | None = None,
    task: Task | None = None,
) -> Selection:
    """Settle what is learnt from what.

    Features of None are all columns with numbers, categories, booleans or dates, and whatever
    `types` names, but for the target, the weight and the split's column; what is left out is in
    the warnings. `types` has the last word on what a feature or a target is.

    A task of None follows from the target: words, booleans and a few whole numbers are classes,
    other numbers a regression. Of several targets, booleans and whole numbers that are all 0 or 1
    are labels, other numbers a regression. Raises DataError naming the column and the field at
    fault.
    """
    by_name = {column.name: column for column in columns}
    types = dict(types or {})
    targets = (target,) if isinstance(target, str) else tuple(target)
    _check_names(by_name, targets, field="target")
    _check_names(by_name, types, field="types")
    for name, type_ in types.items():
        if reason := _why_not(by_name[name], type_):
            raise DataError(reason, column=name, field="types")
    target_columns = [by_name[name] for name in targets]
    if weight is not None:
        _check_weight(by_name, weight, targets)
    settled = _settle_task(target_columns, types, task, several=not isinstance(target, str))
    if split is not None and split.column in targets:
        raise DataError("rows are not split by their target", column=split.column, field="split")
    apart = {*targets, *([weight] if weight is not None else ())}
    warnings = _target_warnings(target_columns, settled)
    if features is None:
        if split is not None and split.column is not None:
            apart.add(split.column)
        candidates = [column for column in columns if column.name not in apart]
        chosen, left_out = _default_features(candidates, types)
        warnings += left_out
    else:
        chosen = _listed_features(by_name, features, types, targets=targets, weight=weight)
    return Selection(targets, chosen, settled, weight, tuple(warnings))


def _check_names(by_name: Mapping[str, Column], names: Iterable[str], *, field: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name not in by_name:
            raise DataError("the data has no such column", column=name, field=field)
        if name in seen:
            raise DataError("the column is listed twice", column=name, field=field)
        seen.add(name)


def _why_not(column: Column, type_: FeatureType) -> str | None:
    """Why the column cannot be of the type, if it cannot."""
    stored_as = column.stored_as
    possible = {
        "numeric": stored_as in ("number", "boolean"),
        "categorical": True,
        "boolean": stored_as == "boolean" or _is_zero_or_one(column),
        "datetime": stored_as == "datetime",
        "text": stored_as == "text",
    }
    if possible[type_]:
        return None
    if type_ == "boolean" and stored_as == "number":
        return "a boolean column of numbers has only 0 and 1"
    return f"a column of {_PLURAL[stored_as]} cannot be {type_}"


def _is_zero_or_one(column: Column) -> bool:
    extremes = {column.minimum, column.maximum}
    return column.stored_as == "number" and column.num_distinct <= 2 and extremes <= {0.0, 1.0}


def _default_features(
    candidates: Sequence[Column], types: Mapping[str, FeatureType]
) -> tuple[dict[str, FeatureType], list[str]]:
    """Those that are taken unasked, and a warning for each reason not to take others."""
    chosen: dict[str, FeatureType] = {}
    left_out: dict[str, list[str]] = {}
    for column in candidates:
        if column.name in types:
            _check_some_value(column, field="types")
            chosen[column.name] = types[column.name]
        elif column.num_distinct == 0:
            left_out.setdefault("without a value", []).append(column.name)
        elif column.type == "constant":
            left_out.setdefault("of one value", []).append(column.name)
        elif column.type == "identifier":
            left_out.setdefault("of identifiers", []).append(column.name)
        elif column.type == "text":
            left_out.setdefault("of text", []).append(column.name)
        else:
            chosen[column.name] = column.type
    warnings = [f"left out, being {why}: {_listing(names)}" for why, names in left_out.items()]
    if not chosen:
        detail = f" ({'; '.join(warnings)})" if warnings else ""
        raise DataError(f"no other column is taken for a feature{detail}", field="features")
    return chosen, warnings


def _listing(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:_MAX_NAMES])
    return f"{shown} and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else shown


def _listed_features(
    by_name: Mapping[str, Column],
    features: Sequence[str],
    types: Mapping[str, FeatureType],
    *,
    targets: Sequence[str],
    weight: str | None,
) -> dict[str, FeatureType]:
    chosen: dict[str, FeatureType] = {}
    for name in features:
        if name not in by_name:
            raise DataError("the data has no such column", column=name, field="features")
        if name in targets:
            raise DataError("the target cannot be a feature", column=name, field="features")
        if name == weight:
            raise DataError("the weight cannot be a feature", column=name, field="features")
        if name in chosen:
            raise DataError("the feature is listed twice", column=name, field="features")
        _check_some_value(by_name[name], field="features")
        chosen[name] = types.get(name) or _type_if_asked_for(by_name[name])
    if not chosen:
        raise DataError("there is no feature", field="features")
    return chosen


def _type_if_asked_for(column: Column) -> FeatureType:
    return "text" if column.type == "text" else _TYPE_AS_STORED[column.stored_as]


def _check_some_value(column: Column, *, field: str) -> None:
    if column.num_distinct == 0:
        raise DataError("all values are missing", column=column.name, field=field)


def _check_weight(by_name: Mapping[str, Column], weight: str, targets: Sequence[str]) -> None:
    def refuse(reason: str) -> NoReturn:
        raise DataError(reason, column=weight, field="weight")

    if weight not in by_name:
        refuse("the data has no such column")
    if weight in targets:
        refuse("the target cannot be the weight")
    column = by_name[weight]
    if column.stored_as != "number":
        refuse("a weight has to be a number")
    if column.num_missing:
        refuse(_missing(column))
    if column.minimum is None or column.minimum < 0:
        refuse(f"a weight cannot be negative, and the smallest is {column.minimum}")
    if column.maximum == 0:
        refuse("all weights are 0")


def _missing(column: Column) -> str:
    return (
        "1 value is missing"
        if column.num_missing == 1
        else f"{column.num_missing} values are missing"
    )


def _settle_task(
    targets: Sequence[Column],
    types: Mapping[str, FeatureType],
    task: Task | None,
    *,
    several: bool,
) -> Task:
    if not targets:
        raise DataError("there is no target", field="target")
    for target in targets:
        _check_some_value(target, field="target")
        if target.stored_as == "datetime":
            raise DataError("a date cannot be a target", column=target.name, field="target")
    if several and len(targets) > 1:
        task = task or _task_of_several(targets, types)
    else:
        task = task or _task_of(targets[0], types.get(targets[0].name))
    if len(targets) > 1 and task not in ("multilabel", "regression"):
        raise DataError(f"a {task} task has one target, not {len(targets)}", field="target")
    for target in targets:
        _check_target(target, types.get(target.name), task)
    return task


def _task_of(target: Column, type_: FeatureType | None) -> Task:
    if type_ is None and target.stored_as == "number":
        whole_classes = target.integral and target.num_distinct <= MAX_INTEGER_CLASSES
        type_ = "categorical" if whole_classes else "numeric"
    if type_ == "numeric":
        return "regression"
    return "binary" if target.num_distinct == 2 else "multiclass"


def _task_of_several(targets: Sequence[Column], types: Mapping[str, FeatureType]) -> Task:
    if all(_is_label(target, types.get(target.name)) for target in targets):
        return "multilabel"
    if all(_is_number(target, types.get(target.name)) for target in targets):
        return "regression"
    raise DataError(
        "several targets are either all numbers, or all booleans or whole numbers of 0 and 1",
        field="target",
    )


def _is_label(target: Column, type_: FeatureType | None) -> bool:
    if type_ is not None:
        return type_ == "boolean"
    return target.stored_as == "boolean" or (target.integral and _is_zero_or_one(target))


def _is_number(target: Column, type_: FeatureType | None) -> bool:
    return target.stored_as == "number" and type_ in (None, "numeric")


def _check_target(target: Column, type_: FeatureType | None, task: Task) -> None:
    def refuse(reason: str) -> NoReturn:
        raise DataError(reason, column=target.name, field="target")

    num_distinct = target.num_distinct
    if task == "regression":
        if not _is_number(target, type_):
            refuse("a regression needs a numeric target")
    elif task == "multilabel":
        if not (target.stored_as == "boolean" or _is_zero_or_one(target)):
            refuse("a label is a boolean, or a number that is 0 or 1")
        if num_distinct != 2:
            refuse("all values are the same, and a label needs both")
    elif not 2 <= num_distinct <= MAX_CLASSES:
        refuse(f"{num_distinct} distinct values, classes need 2 to {MAX_CLASSES}")
    elif task == "binary" and num_distinct != 2:
        refuse(f"a binary target has 2 classes, this one has {num_distinct}")


def _target_warnings(targets: Sequence[Column], task: Task) -> list[str]:
    warnings = []
    for target in targets:
        if target.num_missing:
            rows = "1 row is" if target.num_missing == 1 else f"{target.num_missing} rows are"
            warnings.append(f"column {target.name!r}: {rows} left out, having no target")
        if task == "regression" and target.num_distinct == 1:
            warnings.append(f"column {target.name!r}: all values are the same")
        if task in ("binary", "multiclass") and target.type in ("identifier", "text"):
            looks = "text" if target.type == "text" else "identifiers"
            warnings.append(
                f"column {target.name!r}: its {target.num_distinct} classes look like {looks}"
            )
    return warnings
