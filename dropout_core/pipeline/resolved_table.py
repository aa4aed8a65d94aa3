"""Stage 1: a table and a learning problem that fit each other.

Shapes: N rows, C classes, labels or regression targets.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from torch import Tensor

from dropout_core.config import ProblemConfig, Task
from dropout_core.data import splits
from dropout_core.data.columns import describe
from dropout_core.data.declared_types import read_by_force
from dropout_core.data.labels import LabelColumn, listed_labels, of_labels
from dropout_core.data.reading import Reading
from dropout_core.data.selection import Selection, listing, select
from dropout_core.data.splits import Split, untrained
from dropout_core.data.stored_types import frame_as_stored, stored_as, without_nan
from dropout_core.data.targets import Classes, find_classes, target_tensor, with_targets
from dropout_core.errors import require_type


@dataclass(frozen=True)
class ResolvedTable:
    """The rows that have a target, with every choice of the problem made.

    - `frame` has the stored types, and all columns of the table; labels that one of them lists, the
      `label_column`, have columns instead.
    - `selection` names columns that exist and can be used as it says.
    - `classes` are in the order of the outputs; a regression has none.
    - `targets`: (N) int64 indices of `classes`, or (N, C) float64 of labels and of a regression.
    - `reading`: how the table's text was read.
    - `incomplete`: the columns that miss a value in any row, also in one without a target.
    - `weights`: (N) float64, finite and not negative, or None.
    - `split` and `folds` are splits of the N rows; `folds` is empty without cross-validation.
    """

    frame: pl.DataFrame
    selection: Selection
    classes: Classes | None
    targets: Tensor
    weights: Tensor | None
    split: Split
    folds: tuple[Split, ...]
    reading: Reading
    incomplete: frozenset[str]
    label_column: LabelColumn | None = None

    @property
    def task(self) -> Task:
        return self.selection.task

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what the owner should know of the columns, the rows and their split."""
        return *self.selection.warnings, *self.split_warnings

    @property
    def split_warnings(self) -> tuple[str, ...]:
        """Return a warning for each split whose training rows say nothing of some class."""
        if self.classes is None:
            return ()
        parts = {"training row": self.split.train}
        parts |= {f"training row of fold {i}": fold.train for i, fold in enumerate(self.folds)}
        warnings = []
        for part, rows in parts.items():
            counted = rows if self.weights is None else rows[self.weights[rows] > 0]
            missing = untrained(counted, self.targets, num_classes=len(self.classes))
            names = listing([self.classes[index] for index in missing])
            if missing and self.task == "multilabel":
                warnings.append(f"each {part} has the same value of {names}: nothing is learned")
            elif missing:
                noun = "class" if len(missing) == 1 else "classes"
                warnings.append(f"no {part} has the {noun} {names}: nothing is learned of it")
        return tuple(warnings)

    @property
    def output_names(self) -> Sequence[object]:
        """Return what each output of a model stands for: a class, a label or a target."""
        return self.selection.targets if self.classes is None else self.classes


def resolve_table(
    frame: pl.DataFrame, problem: ProblemConfig, *, reading: Reading | None = None
) -> ResolvedTable:
    """Check the problem against the table, and choose what it leaves open.

    `reading` says how the table's text was read, which the models that learn from it remember.
    Columns of other dtypes are cast to the stored ones, NaN counts as missing, text is read as the
    problem's types declare it, and rows without a target are left out. Raises DataError if a column
    cannot be used as the problem says, or if the rows cannot be split.
    """
    hint = "convert a frame of pandas with polars.from_pandas"
    require_type(frame, pl.DataFrame, name="frame", hint=hint)
    require_type(problem, ProblemConfig, name="problem", hint="give ProblemConfig(target=...)")
    frame = without_nan(frame_as_stored(frame).lazy()).collect()
    stored = {name: stored_as(dtype) for name, dtype in frame.schema.items()}
    if (label_column := listed_labels(problem, stored)) is not None:
        labels = label_column.find(frame)
        problem = of_labels(problem, labels, columns=stored)
        frame = label_column.expand(frame, labels)
    selection = select(describe(frame), **problem.of_columns, num_rows=len(frame))
    types = {**problem.types, **selection.features}
    frame, reading = read_by_force(frame, types, reading=reading or Reading())
    incomplete = frozenset(column.name for column in frame if column.null_count())
    frame = with_targets(frame, selection.targets)
    classes = find_classes(frame, selection.targets, selection.task)
    targets = target_tensor(frame, selection.targets, selection.task, classes)
    has_classes = selection.task in ("binary", "multiclass")
    of_classes = targets if has_classes else None
    config = problem.split
    weights = None
    if selection.weight is not None:
        weights = frame[selection.weight].alias("").cast(pl.Float64).to_torch()
    return ResolvedTable(
        frame=frame,
        selection=selection,
        classes=classes,
        targets=targets,
        weights=weights,
        split=splits.split_rows(frame, config, target=of_classes),
        # Made here, to refuse impossible folds before training.
        folds=tuple(splits.folds(frame, config, target=of_classes)),
        reading=reading,
        incomplete=incomplete,
        label_column=label_column,
    )
