"""Split rows into those to train on, to validate on and to test on."""

import bisect
import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import torch
from torch import Generator, Tensor

from dropout_core.config import SplitConfig
from dropout_core.data.apportionment import apportion, give_each_a_first
from dropout_core.data.by_name import numbered
from dropout_core.data.columns import Column
from dropout_core.data.parsing import shown
from dropout_core.data.selection import Selection
from dropout_core.errors import DataError
from dropout_core.seeds import generator

_TIMES = ("datetime", "number")
_PART_NAMED = {"train": 0, "validation": 1, "valid": 1, "val": 1, "test": 2}


@dataclass(frozen=True)
class Split:
    """Row indices, int64 and ascending. Each row is in one part; in a fold, in at most one."""

    train: Tensor
    validation: Tensor
    test: Tensor


def _split_sizes(num_rows: int, config: SplitConfig) -> tuple[int, int, int]:
    """Return the number of rows to train, validate and test on.

    Raises DataError if no row is left to train on.
    """
    num_validation = _num_held_out(num_rows, config.validation)
    num_test = _num_held_out(num_rows, config.test)
    num_train = num_rows - num_validation - num_test
    if num_train < 1:
        raise DataError(f"{num_rows} rows are too few for this split", field="split")
    return num_train, num_validation, num_test


def split_rows(
    frame: pl.DataFrame,
    config: SplitConfig,
    *,
    target: Tensor | None = None,
) -> Split:
    """Hold out rows as `config` says.

    Stratified splits need `target` (N), the class index of each row. Raises DataError, with the row
    where there is one.

    - `auto`: `stratified` with a `target`, else `random`.
    - `stratified`: each part's share of a class is within one row of its share of all rows. A class
      that would be held out whole has one training row, in exchange for a row of a frequent class.
    - `grouped`: the parts are as large as whole groups allow when they are taken in random order.
    - `time`: rows with the same time are in the same part, if there are enough distinct times.
    """
    config = config.settled(has_classes=target is not None)
    return _split(_keys(frame, config, target), config, generator(config.seed, "split"))


def folds(
    frame: pl.DataFrame,
    config: SplitConfig,
    *,
    target: Tensor | None = None,
) -> list[Split]:
    """Return one split a fold, over the rows that `split_rows` trains and validates on.

    Each row is in the `test` of one fold; `config` chooses `validation` among the others, and
    `train` is the rest. With a time split no fold trains on rows after its test: the rows are cut
    into one piece more than there are folds, and a fold tests one piece and trains on all earlier
    pieces. Without `config.folds` the list is empty. Raises DataError as `split_rows` does.
    """
    if config.folds is None:
        return []
    config = config.settled(has_classes=target is not None)
    keys = _keys(frame, config, target)
    whole = _split(keys, config, generator(config.seed, "split"))
    rows = torch.cat([whole.train, whole.validation]).sort().values
    parts = _fold_of(keys[rows], config)
    inner = config.model_copy(update={"test": 0.0, "folds": None})
    result = []
    for fold in range(config.folds or 0):
        is_earlier = parts < fold if config.kind == "time" else parts != fold
        others = rows[is_earlier]
        stream = generator(config.seed, "fold", fold)
        split = _split(keys[others], inner, stream)
        held_out = rows[parts == fold]
        result.append(Split(others[split.train], others[split.validation], held_out))
    return result


def untrained(rows: Tensor, target: Tensor, *, num_classes: int) -> list[int]:
    """Return the classes of `target` (N) that none of the training `rows` has.

    Of labels (N, C), return those that have the same value in all of these rows.
    """
    given = target[rows]
    if target.dim() == 2:
        same = (given == given[:1]).all(dim=0)
    else:
        same = given.bincount(minlength=num_classes) == 0
    indices: list[int] = same.nonzero().flatten().tolist()
    return indices


def check_split(
    num_rows: int,
    config: SplitConfig,
    columns: Sequence[Column],
    *,
    selection: Selection | None = None,
) -> tuple[int, int]:
    """Check the split against the columns; return the numbers of training and validation rows.

    `num_rows` counts rows with a target. The numbers are estimates for groups, for times that
    several rows share, and where targets are missing in a given split or in different rows. Folds
    too small to be split again are found when the rows are split. Raises DataError with the field
    `split`.
    """
    has_classes = selection is None or selection.task in ("binary", "multiclass")
    if config.kind == "stratified" and not has_classes:
        raise DataError("a stratified split needs one target with classes", field="split")
    if config.column is not None:
        column = _split_column(columns, config.column)
        if config.kind == "column":
            return _check_words(column)
        if config.kind == "grouped":
            _check_num_groups(column.num_distinct, config)
        elif column.stored_as not in _TIMES:
            raise DataError(
                "a time has to be a date or a number", column=column.name, field="split"
            )
    num_train, num_validation, _ = _split_sizes(num_rows, config)
    if config.folds is not None and num_train + num_validation < config.folds + 1:
        raise DataError(f"{num_rows} rows are too few for {config.folds} folds", field="split")
    return num_train, num_validation


def rare_classes(columns: Sequence[Column], selection: Selection, config: SplitConfig) -> list[str]:
    """Return a warning for each known class with fewer rows than a stratified split has parts."""
    has_classes = selection.task in ("binary", "multiclass")
    if config.settled(has_classes=has_classes).kind != "stratified":
        return []
    target = next(column for column in columns if column.name == selection.targets[0])
    num_parts = max(_num_parts(config), config.folds or 0)
    if len(target.top_values) < target.num_distinct:
        return []
    return [
        f"the class {shown(top.value)} has only {top.count} {'row' if top.count == 1 else 'rows'}: "
        "it is trained on, but not every held-out part has a row of it"
        for top in target.top_values
        if top.count < num_parts
    ]


def _split_column(columns: Sequence[Column], name: str) -> Column:
    column = next((column for column in columns if column.name == name), None)
    if column is None:
        raise DataError("the data has no such column", column=name, field="split")
    if column.num_missing:
        raise DataError(f"{column.num_missing} values are missing", column=name, field="split")
    return column


def _check_num_groups(num_groups: int, config: SplitConfig) -> None:
    needed = max(_num_parts(config), (config.test > 0) + (config.folds or 0))
    if num_groups < needed:
        raise DataError(
            f"{num_groups} groups are too few for this split, which needs {needed}",
            column=config.column,
            field="split",
        )


def _check_words(column: Column) -> tuple[int, int]:
    """Return how many rows the words of a `column` split train and validate on."""
    if column.stored_as != "text":
        raise DataError("a split is told in words", column=column.name, field="split")
    sizes = [0, 0, 0]
    for top in column.top_values:
        part = _PART_NAMED.get(str(top.value).strip().lower())
        if part is None:
            raise DataError(_not_a_part(top.value), column=column.name, field="split")
        sizes[part] += top.count
    num_train, num_validation, _ = sizes
    if num_train == 0:
        raise DataError("no row is for training", column=column.name, field="split")
    return num_train, num_validation


def _not_a_part(value: object) -> str:
    return f"{value!r} is none of train, validation and test"


def _num_parts(config: SplitConfig) -> int:
    return 1 + (config.validation > 0) + (config.test > 0)


def _keys(frame: pl.DataFrame, config: SplitConfig, target: Tensor | None) -> Tensor:
    """Return what decides each row's part: its class, group, rank in time or part, (N) int64."""
    if config.kind == "stratified":
        if target is None or target.dim() != 1 or target.is_floating_point():
            raise DataError("a stratified split needs one target with classes", field="split")
        return target.to(torch.int64)
    if config.column is None:
        return torch.zeros(len(frame), dtype=torch.int64)
    try:
        with numbered(frame, [config.column]) as columns:
            return _keys_of(columns.to_series(), config)
    except DataError as error:
        column = config.column
        raise DataError(error.message, row=error.row, column=column, field="split") from error


def _keys_of(column: pl.Series, config: SplitConfig) -> Tensor:
    if column.null_count():
        row = int(column.is_null().arg_max() or 0)
        raise DataError("a value is missing", row=row + 1)
    if config.kind == "column":
        return _given_parts(column)
    if config.kind == "time" and not (column.dtype.is_temporal() or column.dtype.is_numeric()):
        raise DataError("a time has to be a date or a number")
    return column.rank("dense").cast(pl.Int64).to_torch() - 1


def _given_parts(column: pl.Series) -> Tensor:
    words = column.cast(pl.String).str.strip_chars().str.to_lowercase()
    parts = words.replace_strict(_PART_NAMED, default=None, return_dtype=pl.Int64)
    if parts.null_count():
        row = int(parts.is_null().arg_max() or 0)
        raise DataError(_not_a_part(column[row]), row=row + 1)
    return parts.to_torch()


def _split(keys: Tensor, config: SplitConfig, stream: Generator) -> Split:
    if config.kind == "stratified":
        return _stratified(keys, config, stream)
    if config.kind == "grouped":
        return _grouped(keys, config, stream)
    if config.kind == "time":
        return _in_time(keys, config)
    if config.kind == "column":
        return _as_given(keys)
    return _at_random(len(keys), config, stream)


def _at_random(num_rows: int, config: SplitConfig, stream: Generator) -> Split:
    num_train, num_validation, _ = _split_sizes(num_rows, config)
    order = torch.randperm(num_rows, generator=stream)
    return _cut(order, num_train, num_train + num_validation)


def _cut(order: Tensor, end_of_train: int, start_of_test: int) -> Split:
    return Split(
        order[:end_of_train].sort().values,
        order[end_of_train:start_of_test].sort().values,
        order[start_of_test:].sort().values,
    )


def _stratified(labels: Tensor, config: SplitConfig, stream: Generator) -> Split:
    sizes = _split_sizes(len(labels), config)
    counts = labels.bincount()
    shares = apportion(counts.tolist(), sizes)
    give_each_a_first(shares)
    table = torch.tensor(shares)
    order = _by_class(labels, stream)
    first_of_class = counts.cumsum(0) - counts
    ordered = labels[order]
    rank = torch.arange(len(order)) - first_of_class[ordered]
    num_test, num_validation = table[ordered, 2], table[ordered, 1]
    parts = (rank < num_test + num_validation).long() + (rank < num_test).long()
    return _as_given(torch.empty_like(parts).scatter_(0, order, parts))


def _by_class(labels: Tensor, stream: Generator) -> Tensor:
    """Return the rows class by class, shuffled within each."""
    order = torch.randperm(len(labels), generator=stream)
    return order[labels[order].argsort(stable=True)]


def _grouped(groups: Tensor, config: SplitConfig, stream: Generator) -> Split:
    _, num_validation, num_test = _split_sizes(len(groups), config)
    sizes = groups.bincount()
    left = {group: int(sizes[group]) for group in _in_random_order(sizes, stream)}
    _check_num_groups(len(left), config)
    part_of_group = torch.zeros_like(sizes)
    # The test is filled first, and leaves a group for each part, or fold, that follows.
    reserved_by_test = max(1 + (num_validation > 0), config.folds or 0)
    for part, size, num_reserved in ((2, num_test, reserved_by_test), (1, num_validation, 1)):
        if size:
            for group in _fill(size, left, num_reserved):
                part_of_group[group] = part
                del left[group]
    return _as_given(part_of_group[groups])


def _in_random_order(sizes: Tensor, stream: Generator) -> list[int]:
    """Return the groups that have rows."""
    groups = sizes.nonzero().flatten()
    order: list[int] = groups[torch.randperm(len(groups), generator=stream)].tolist()
    return order


def _fill(size: int, groups: dict[int, int], num_reserved: int) -> list[int]:
    """Return at least one group, together near to `size`; leave `num_reserved` groups."""
    chosen: list[int] = []
    missing = size
    for group, group_size in groups.items():
        if missing <= 0 or len(groups) - len(chosen) == num_reserved:
            break
        if abs(missing - group_size) < missing:
            chosen.append(group)
            missing -= group_size
    return chosen or [min(groups, key=groups.__getitem__)]


def _in_time(times: Tensor, config: SplitConfig) -> Split:
    num_train, num_validation, num_test = _split_sizes(len(times), config)
    wanted = [num_train] if num_validation else []
    wanted += [num_train + num_validation] if num_test else []
    order = times.argsort(stable=True)
    cuts = _cuts(times[order], wanted)
    end_of_train = cuts[0] if cuts else len(order)
    start_of_test = cuts[-1] if num_test else len(order)
    return _cut(order, end_of_train, start_of_test)


def _cuts(ordered: Tensor, wanted: Sequence[int]) -> list[int]:
    """Return where to cut: near `wanted`, and between two times if there are enough times."""
    boundaries = ((ordered[1:] != ordered[:-1]).nonzero().flatten() + 1).tolist()
    if len(boundaries) < len(wanted):
        return list(wanted)
    cuts: list[int] = []
    num_usable = len(boundaries)
    for index in reversed(range(len(wanted))):
        after = bisect.bisect_left(boundaries, wanted[index])
        near = [i for i in (after - 1, after) if 0 <= i < len(boundaries)]
        nearest = min(near, key=lambda i: abs(boundaries[i] - wanted[index]))
        nearest = min(max(nearest, index), num_usable - 1)
        cuts.append(boundaries[nearest])
        num_usable = nearest
    return cuts[::-1]


def _as_given(parts: Tensor) -> Split:
    train, validation, test = ((parts == part).nonzero().flatten() for part in range(3))
    if not len(train):
        raise DataError("no row is for training", field="split")
    return Split(train, validation, test)


def _fold_of(keys: Tensor, config: SplitConfig) -> Tensor:
    """Return the fold that tests each row, (N) int64; -1 for the oldest rows of a time split."""
    num_folds, num_rows = config.folds or 0, len(keys)
    stream = generator(config.seed, "folds")
    if num_rows <= num_folds:
        raise DataError(f"{num_rows} rows are too few for {num_folds} folds", field="split")
    if config.kind == "grouped":
        return _fold_of_groups(keys, config, stream)
    if config.kind == "time":
        order = keys.argsort(stable=True)
        wanted = [num_rows * (fold + 1) // (num_folds + 1) for fold in range(num_folds)]
        cuts = torch.tensor(_cuts(keys[order], wanted))
        fold_of = torch.bucketize(torch.arange(num_rows), cuts, right=True) - 1
    else:
        if config.kind == "stratified":
            order = _by_class(keys, stream)
        else:
            order = torch.randperm(num_rows, generator=stream)
        fold_of = torch.arange(num_rows) % num_folds
    return torch.empty_like(fold_of).scatter_(0, order, fold_of)


def _fold_of_groups(groups: Tensor, config: SplitConfig, stream: Generator) -> Tensor:
    """Assign groups to folds: the largest first, each to the fold with the fewest rows."""
    sizes = groups.bincount()
    order = _in_random_order(sizes, stream)
    order.sort(key=sizes.tolist().__getitem__, reverse=True)
    filled = [(0, fold) for fold in range(config.folds or 0)]
    fold_of_group = torch.empty_like(sizes)
    for group in order:
        num_rows, fold = filled[0]
        fold_of_group[group] = fold
        heapq.heapreplace(filled, (num_rows + int(sizes[group]), fold))
    return fold_of_group[groups]


def _num_held_out(num_rows: int, fraction: float) -> int:
    """Return the number of rows of a fraction: at least one unless it is 0."""
    return max(1, round(num_rows * fraction)) if fraction > 0 else 0
