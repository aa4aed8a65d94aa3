"""Labels that one column lists: `action|drama` as a boolean column for each label."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NoReturn

import numpy as np
import polars as pl

from dropout_core.config import Config, ProblemConfig
from dropout_core.data.by_name import existing, numbered
from dropout_core.data.categories import names_as
from dropout_core.data.columns import MAX_NAME_CHARACTERS, Column
from dropout_core.data.parsing import refusal, shown
from dropout_core.data.stored_types import StoredAs
from dropout_core.errors import DataError

MAX_LABELS = 1_000

_ROWS_AT_ONCE = 4_096


class LabelColumn(Config):
    """A column of text whose cells list labels, with the delimiter between them.

    Labels have no white space around them, and a cell may have none, as `|`. An empty cell is a
    missing value.
    """

    name: str
    delimiter: str

    def find(self, frame: pl.DataFrame) -> dict[str, int]:
        """Return the labels in the column, sorted, each with the number of rows that have it.

        Raises DataError if they are too many, or if one cannot be the name of an output.
        """
        with numbered(frame, [self.name]) as cells:
            counts: Counter[str] = Counter()
            for parts in self._parts(cells.to_series()):
                counts.update(dict(parts["label"].value_counts().iter_rows()))
                _check(counts)
        if not counts:
            raise _refusal("no row has a label", column=self.name)
        return dict(sorted(counts.items()))

    def expand(self, frame: pl.DataFrame, labels: Collection[str]) -> pl.DataFrame:
        """Return the frame with a boolean column for each label in place of the column.

        Raises DataError naming the row of a label that is not among these.
        """
        codes = pl.DataFrame({"label": list(labels), "code": range(len(labels))})
        has_label = np.zeros((len(labels), len(frame)), dtype=np.bool_)
        with numbered(frame, [self.name]) as cells:
            column = cells.to_series()
            for part in self._parts(column):
                known = part.join(codes, on="label", how="left", maintain_order="left")
                if (is_unknown := known["code"].is_null()).any():
                    row, label, _ = known.row(int(is_unknown.arg_max() or 0))
                    why = f"has {shown(label)}, which is none of the {len(labels)} labels"
                    raise refusal(column, row, why)
                has_label[known["code"].to_numpy(), known["row"].to_numpy()] = True
        is_present = _as_text(column).is_not_null()
        missing = pl.repeat(None, len(frame), dtype=pl.Boolean, eager=True)
        others = [kept for kept in frame if kept.name not in {self.name, *labels}]
        expanded = [
            pl.Series("", has_label[code]).zip_with(is_present, missing).alias(label)
            for code, label in enumerate(labels)
        ]
        return pl.DataFrame([*others, *expanded])

    def described(
        self, labels: Mapping[str, int], column: Column, *, num_rows: int
    ) -> list[Column]:
        """Return the description of each label's column, from what `find` tells of `num_rows`."""
        num_cells = num_rows - column.num_missing
        return [
            Column(
                name=label,
                type="boolean",
                stored_as="boolean",
                integral=False,
                num_missing=column.num_missing,
                num_distinct=1 if num_with_it == num_cells else 2,
            )
            for label, num_with_it in labels.items()
        ]

    def _parts(self, column: pl.Series) -> Iterator[pl.DataFrame]:
        """Yield the labels of a few rows at a time, which take little memory: `row` and `label`.

        A row has each of its labels once. Raises DataError for a cell of too many.
        """
        label = pl.col("label")
        for start in range(0, len(column), _ROWS_AT_ONCE):
            text = pl.DataFrame({"label": _as_text(column[start : start + _ROWS_AT_ONCE])})
            cells = text.with_row_index("row", offset=start).drop_nulls()
            num_parts = cells["label"].str.count_matches(self.delimiter, literal=True)
            if (too_many := num_parts >= MAX_LABELS).any():
                row = cells["row"][int(too_many.arg_max() or 0)]
                message = f"a cell lists more than {MAX_LABELS} labels: check the delimiter"
                raise _refusal(message, column=column.name, row=row + 1)
            parts = cells.with_columns(label.str.split(self.delimiter)).explode("label")
            parts = parts.with_columns(label.str.strip_chars()).filter(label != "")
            yield parts.unique(maintain_order=True)


def listed_labels(problem: ProblemConfig, stored: Mapping[str, StoredAs]) -> LabelColumn | None:
    """Return the column whose labels the problem asks for, None for another target.

    `stored` are the table's columns. Raises DataError if this column cannot be used so.
    """
    if problem.target_delimiter is None:
        return None

    def refuse(reason: str, *, field: str = "target_delimiter") -> NoReturn:
        raise DataError(reason, column=name, field=field)

    targets = [problem.target] if isinstance(problem.target, str) else problem.target
    name = targets[0]
    if len(targets) > 1:
        refuse("a target with a delimiter is one column: give only this one as the `target`")
    if name not in stored:
        refuse("the data has no such column", field="target")
    if stored[name] != "text":
        refuse(f"labels are listed in text, and this is a {stored[name]} column")
    if problem.task not in (None, "multilabel"):
        refuse(
            f"labels are a multilabel task, not {problem.task}: leave the delimiter or the task out"
        )
    if name in problem.types:
        refuse("a column that lists labels has no type", field="types")
    if problem.features is not None and name in problem.features:
        refuse("the target cannot be a feature", field="features")
    if name == problem.weight:
        refuse("the target cannot be the weight", field="weight")
    if name == problem.split.column:
        refuse("rows are not split by their target", field="split")
    return LabelColumn(name=name, delimiter=problem.target_delimiter)


def of_labels(
    problem: ProblemConfig, labels: Iterable[str], *, columns: Collection[str]
) -> ProblemConfig:
    """Return the problem whose targets are the labels' own columns, beside the table's `columns`.

    Raises DataError if a label has the name of a column.
    """
    taken = set(columns)
    for label in labels:
        if label in taken:
            raise DataError(
                "a label has the name of this column: rename the column",
                column=label,
                field="target_delimiter",
            )
    told = {"target": tuple(labels), "target_delimiter": None, "task": "multilabel"}
    return problem.model_copy(update=told)


def target_columns(
    columns: Collection[str], targets: Sequence[str], label_column: LabelColumn | None
) -> Sequence[str]:
    """Return the columns that hold the targets in a table; one that lists labels comes first.

    Raises DataError if they are missing.
    """
    if label_column is None:
        return existing(columns, targets)
    if label_column.name in columns:
        return [label_column.name]
    if set(targets).issubset(columns):
        return targets
    raise DataError(
        "the data has no such column, nor a column for each label", column=label_column.name
    )


def _check(labels: Collection[str]) -> None:
    """Raise DataError, about the column "0", if the labels cannot be the outputs of a network."""
    if len(labels) > MAX_LABELS:
        message = f"it lists more than {MAX_LABELS} labels: check the delimiter, or join rare ones"
        raise _refusal(message, column="0")
    if any(len(label) > MAX_NAME_CHARACTERS for label in labels):
        message = f"a label has more than {MAX_NAME_CHARACTERS} characters: check the delimiter"
        raise _refusal(message, column="0")


def _refusal(message: str, *, column: str, row: int | None = None) -> DataError:
    return DataError(message, row=row, column=column, field="target_delimiter")


def _as_text(column: pl.Series) -> pl.Series:
    """Return the cells as text, null where they are empty."""
    text = names_as(column, "text").str.strip_chars()
    return text.replace("", None)
