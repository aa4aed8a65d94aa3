"""Selection: the columns of a task, as its target, features, types and weight name them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from dropout_core.config import ColumnType, FeatureType, SplitConfig, Task
from dropout_core.data.columns import (
    LONG_CLASS,
    MAX_INTEGER_CLASSES,
    MAX_NAME_CHARACTERS,
    MIN_IDENTIFIERS,
    TYPE_AS_STORED,
    Column,
)
from dropout_core.data.parsing import shown
from dropout_core.data.stored_types import EXACT_BOUND, StoredAs
from dropout_core.errors import DataError

MAX_CLASSES = 10_000

_FEW_NUMBERS = 10  # so few may be classes
_MAX_NAMES = 5  # in one warning

_PLURAL: dict[StoredAs, str] = {
    "number": "numbers",
    "boolean": "booleans",
    "text": "words",
    "datetime": "dates",
}
_LEFT_OUT: dict[ColumnType, str] = {
    "constant": "of one value",
    "identifier": "of identifiers",
    "text": "of text",
}


@dataclass(frozen=True)
class Selection:
    """The columns of a task, all of them usable, and warnings for the user."""

    targets: tuple[str, ...]
    features: dict[str, FeatureType]
    task: Task
    weight: str | None
    warnings: tuple[str, ...]


def select(
    columns: Sequence[Column],
    *,
    target: str | Sequence[str],
    features: Sequence[str] | None = None,
    types: Mapping[str, FeatureType] | None = None,
    weight: str | None = None,
    split: SplitConfig | None = None,
    task: Task | None = None,
    num_rows: int | None = None,
) -> Selection:
    """Select the target, the features and the task.

    Without `features`, select all columns of numbers, categories, booleans or dates, and all that
    `types` names, except the target, the weight and the split's column; warnings name the columns
    left out. `types` overrides the type of a feature or a target.

    Without `task`, the target decides: text, booleans, two whole numbers and few distinct integers
    are classes, other numbers a regression. Several targets are labels if all are booleans or
    numbers 0 and 1, and a regression if all are numbers. With `num_rows`, classes of about one row
    each are refused. Raises DataError naming the column and the field.
    """
    by_name = {column.name: column for column in columns}
    types = dict(types or {})
    targets = (target,) if isinstance(target, str) else tuple(target)
    if not targets:
        raise DataError("there is no target", field="target")
    _check_names(by_name, targets, field="target")
    _check_names(by_name, types, field="types")
    for name, type_ in types.items():
        if reason := _why_not(by_name[name], type_):
            raise DataError(reason, column=name, field="types")
    target_columns = [by_name[name] for name in targets]
    if weight is not None:
        _check_weight(by_name, weight, targets)
    settled = _settle_task(target_columns, types, task, num_rows)
    if split is not None and split.column in targets:
        raise DataError("rows are not split by their target", column=split.column, field="split")
    apart = {*targets, *([weight] if weight is not None else ())}
    is_told = task is not None or any(name in types for name in targets)
    warnings = _target_warnings(target_columns, settled, is_told=is_told)
    if features is None:
        if split is not None and split.column is not None:
            apart.add(split.column)
        candidates = [column for column in columns if column.name not in apart]
        chosen, left_out = _default_features(candidates, types)
        warnings += left_out
    else:
        chosen = _listed_features(by_name, features, types, targets=targets, weight=weight)
    warnings += _rounding_warnings(
        [by_name[n] for n, type_ in chosen.items() if type_ == "numeric"]
    )
    return Selection(targets, chosen, settled, weight, tuple(warnings))


def _check_names(
    by_name: Mapping[str, Column], names: Iterable[str], *, field: str, noun: str = "column"
) -> None:
    seen: set[str] = set()
    for name in names:
        if name not in by_name:
            raise DataError("the data has no such column", column=name, field=field)
        if name in seen:
            raise DataError(f"the {noun} is listed twice", column=name, field=field)
        seen.add(name)


def _why_not(column: Column, type_: FeatureType) -> str | None:
    """Return why the column cannot have the type, or None if it can."""
    stored_as = column.stored_as
    possible = {
        "numeric": stored_as in ("number", "boolean", "text"),  # text is read by force
        "categorical": True,
        "boolean": stored_as == "boolean" or _is_zero_or_one(column),
        "datetime": stored_as in ("datetime", "text"),
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
    """Return the features by default, and a warning for each reason to leave columns out."""
    chosen: dict[str, FeatureType] = {}
    left_out: dict[str, list[str]] = {}
    for column in candidates:
        if column.name in types:
            _check_some_value(column, field="types")
            chosen[column.name] = types[column.name]
        elif column.num_distinct == 0:
            left_out.setdefault("without a value", []).append(column.name)
        elif column.type in _LEFT_OUT:
            left_out.setdefault(_LEFT_OUT[column.type], []).append(column.name)
        else:
            chosen[column.name] = TYPE_AS_STORED[column.stored_as]
    warnings = {why: f"left out, being {why}: {listing(of)}" for why, of in left_out.items()}
    if not chosen:
        detail = f" ({'; '.join(warnings.values())})" if warnings else ""
        raise DataError(f"no other column is taken for a feature{detail}", field="features")
    advice = "; to use one, name it in `features` or `types`"
    return chosen, [
        warning + (advice if why in _LEFT_OUT.values() else "") for why, warning in warnings.items()
    ]


def listing(names: Sequence[object]) -> str:
    """Return a few of the names, as a message shows them."""
    few = ", ".join(shown(name) for name in names[:_MAX_NAMES])
    return f"{few} and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else few


def _listed_features(
    by_name: Mapping[str, Column],
    features: Sequence[str],
    types: Mapping[str, FeatureType],
    *,
    targets: Sequence[str],
    weight: str | None,
) -> dict[str, FeatureType]:
    if not features:
        raise DataError("there is no feature", field="features")
    _check_names(by_name, features, field="features", noun="feature")
    chosen: dict[str, FeatureType] = {}
    for name in features:
        column = by_name[name]
        if name in targets:
            raise DataError("the target cannot be a feature", column=name, field="features")
        if name == weight:
            raise DataError("the weight cannot be a feature", column=name, field="features")
        _check_some_value(column, field="features")
        stored_type = "text" if column.type == "text" else TYPE_AS_STORED[column.stored_as]
        chosen[name] = types.get(name, stored_type)
    return chosen


def _check_some_value(column: Column, *, field: str) -> None:
    if column.num_distinct == 0:
        raise DataError("all values are missing", column=column.name, field=field)


def _check_weight(by_name: Mapping[str, Column], weight: str, targets: Sequence[str]) -> None:
    def refuse(reason: str) -> NoReturn:
        raise DataError(reason, column=weight, field="weight")

    _check_names(by_name, [weight], field="weight")
    if weight in targets:
        refuse("the target cannot be the weight")
    column = by_name[weight]
    if column.stored_as != "number":
        refuse("a weight has to be a number")
    if column.num_missing:
        is_one = column.num_missing == 1
        refuse("1 value is missing" if is_one else f"{column.num_missing} values are missing")
    if column.minimum is None or column.minimum < 0:
        refuse(f"a weight cannot be negative, and the smallest is {column.minimum}")
    if column.maximum == 0:
        refuse("all weights are 0")


def _settle_task(
    targets: Sequence[Column],
    types: Mapping[str, FeatureType],
    task: Task | None,
    num_rows: int | None,
) -> Task:
    for target in targets:
        _check_some_value(target, field="target")
        if target.stored_as == "datetime":
            raise DataError("a date cannot be a target", column=target.name, field="target")
    if task is None and len(targets) > 1:
        task = _task_of_several(targets, types)
    elif task is None:
        task = _task_of(targets[0], types.get(targets[0].name))
    elif len(targets) > 1 and task not in ("multilabel", "regression"):
        raise DataError(f"a {task} task has one target, not {len(targets)}", field="target")
    for target in targets:
        _check_target(target, types.get(target.name), task, num_rows)
    return task


def _task_of(target: Column, type_: FeatureType | None) -> Task:
    if type_ is None and target.stored_as == "number":
        are_few = target.integral and target.num_distinct <= MAX_INTEGER_CLASSES
        type_ = "categorical" if are_few or _is_two_whole_numbers(target) else "numeric"
    if type_ == "numeric":
        return "regression"
    return "binary" if target.num_distinct == 2 else "multiclass"


def _is_two_whole_numbers(target: Column) -> bool:
    """Return whether all numbers are one of two, such as the 0.0 and 1.0 of labels with a hole."""
    extremes = (target.minimum, target.maximum)
    return target.num_distinct == 2 and all(n is not None and n.is_integer() for n in extremes)


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
    return target.stored_as == "boolean" or _is_zero_or_one(target)


def _is_number(target: Column, type_: FeatureType | None) -> bool:
    if target.stored_as == "text":
        return type_ == "numeric"
    return target.stored_as == "number" and type_ in (None, "numeric")


def _check_target(
    target: Column, type_: FeatureType | None, task: Task, num_rows: int | None
) -> None:
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
    elif any(len(str(top.value)) > MAX_NAME_CHARACTERS for top in target.top_values):
        refuse(LONG_CLASS)
    elif task == "binary" and num_distinct != 2:
        refuse(f"a binary target has 2 classes, this one has {num_distinct}")
    elif num_rows is not None and _is_a_class_a_row(num_distinct, num_rows - target.num_missing):
        refuse(
            f"{num_distinct} classes in {num_rows - target.num_missing} rows: nothing is learned "
            "from about one row a class; name another target, or a regression if it is a number"
        )


def _is_a_class_a_row(num_classes: int, num_rows: int) -> bool:
    return num_rows >= MIN_IDENTIFIERS and 2 * num_classes > num_rows


def _rounding_warnings(numeric: Sequence[Column]) -> list[str]:
    large = [
        column.name
        for column in numeric
        if column.integral
        and max(abs(column.minimum or 0.0), abs(column.maximum or 0.0)) > EXACT_BOUND
    ]
    if not large:
        return []
    return [
        f"numbers beyond 2^53 lose their last digits as numeric features: {listing(large)}; "
        "`types` can make them categorical, which keeps them apart"
    ]


def _target_warnings(targets: Sequence[Column], task: Task, *, is_told: bool) -> list[str]:
    warnings = []
    without: dict[int, list[str]] = {}
    for target in targets:
        if target.num_missing:
            without.setdefault(target.num_missing, []).append(target.name)
    for num_missing, names in without.items():
        rows = "1 row is" if num_missing == 1 else f"{num_missing} rows are"
        columns = f"column {names[0]!r}" if len(names) == 1 else f"each column of {listing(names)}"
        warnings.append(f"{columns}: {rows} left out, having no target")
    for target in targets:
        if task == "regression" and target.num_distinct == 1:
            warnings.append(f"column {target.name!r}: all values are the same")
        elif task == "regression" and not is_told and target.num_distinct <= _FEW_NUMBERS:
            warnings.append(
                f"column {target.name!r}: its {target.num_distinct} numbers are taken for a "
                "regression; name the `task` if they are classes"
            )
        if task in ("binary", "multiclass") and target.type in ("identifier", "text"):
            looks = "text" if target.type == "text" else "identifiers"
            warnings.append(
                f"column {target.name!r}: its {target.num_distinct} classes look like {looks}"
            )
    return warnings
