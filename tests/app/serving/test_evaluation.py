"""A dataset that is evaluated in batches: what it says, what it refuses and what it takes."""

import multiprocessing
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from app.context import Context
from app.serving import evaluation
from app.serving import tables as serving_tables
from app.serving.dataset_rows import scan
from app.serving.errors import DatasetMisfit, TooManyScores
from dropout_core.data.readers import read, table
from dropout_core.evaluation.evaluator import Evaluation, evaluate
from dropout_core.files import is_disk_full
from dropout_core.model.predictor import Predictor
from store import datasets
from store.access.keys import DEFAULT_TENANT
from store.errors import DatasetNotFound
from tests.support import tables
from tests.support.client import upload
from tests.support.in_process import TestClient
from tests.support.served_models import feature_names, make_model, tabular_run
from tests.support.small_disks import MiB, small_disk

TASKS: dict[str, tuple[Callable[[], bytes], list[str]]] = {
    "binary": (tables.people, ["leaves"]),
    "multiclass": (tables.flowers, ["label"]),
    "multilabel": (tables.outcomes, ["pos", "big"]),
    "regression": (tables.outcomes, ["sum", "gap"]),
}


def learned(file: bytes, targets: list[str], folder: Path, **options: Any) -> Predictor:
    path = folder / "learned.csv"
    path.write_bytes(file)
    run = tabular_run(read(path), target=targets, **options)
    return Predictor(run.model, run.description)


def evaluated(predictor: Predictor, frame: pl.DataFrame, folder: Path) -> Evaluation:
    """Of the frame as a stored table; whatever comes of it, nothing else is left."""
    path, scratch = folder / "table", folder / "scratch"
    frame.write_parquet(path)
    try:
        return evaluation.evaluate(
            predictor, table.scan(path), num_rows=len(frame), scratch=scratch
        )
    finally:
        assert list(scratch.iterdir()) == []


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_tables, "MAX_BATCH_ROWS", 7)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """A model of what people are like that leave, of which the age may be missing."""
    return learned(
        tables.people(60),
        ["leaves"],
        tmp_path_factory.mktemp("people"),
        features=["age", "city", "since"],
    )


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("task", TASKS)
def test_an_evaluation_in_batches_is_that_of_all_rows(task: str, tmp_path: Path) -> None:
    make, targets = TASKS[task]
    predictor = learned(make(), targets, tmp_path)
    assert predictor.description.task == task
    frame = read(tmp_path / "learned.csv").drop_nulls()
    # Some rows have no target, and eight that come after each other make a batch without any.
    row = pl.int_range(pl.len())
    keep = (row % 5 != 3) & ~row.is_between(20, 35)
    frame = frame.with_columns(pl.when(keep).then(pl.col(name)).alias(name) for name in targets)
    result = evaluated(predictor, frame, tmp_path)
    assert result == evaluate(predictor, frame)
    assert result.num_rows < len(frame)
    assert None not in result.metrics.values()


@pytest.mark.usefixtures("small_batches")
def test_an_evaluation_counts_what_is_predicted_row_by_row(
    people: Predictor, tmp_path: Path
) -> None:
    lines = tables.rows(tables.people(40, seed=1))
    frame = read_lines([line[1:4] + line[-1:] for line in lines], tmp_path)
    classes = people.description.classes
    assert classes is not None
    expected = [[0, 0], [0, 0]]
    for instance in frame.iter_rows(named=True):
        [told] = people.predict(people.frame_of([instance])).values
        expected[classes.index(instance["leaves"])][classes.index(told)] += 1
    result = evaluated(people, frame, tmp_path)
    assert result.confusion_matrix == expected
    assert result.metrics["accuracy"] == (expected[0][0] + expected[1][1]) / len(lines)


def read_lines(lines: list[list[str]], folder: Path) -> pl.DataFrame:
    """A file of these cells as its dataset has them."""
    path = folder / "lines.csv"
    path.write_text(
        "\n".join(",".join(line) for line in [["city", "age", "since", "leaves"], *lines])
    )
    return read(path)


@pytest.mark.usefixtures("small_batches")
def test_a_date_means_what_the_whole_column_says(people: Predictor, tmp_path: Path) -> None:
    # Only the last date tells that all of them have the day first.
    lines = [["Oslo", "70", f"{day:02}/01/2024", "yes"] for day in range(1, 14)]
    slashed = read_lines(lines, tmp_path).with_columns(since=pl.Series([line[2] for line in lines]))
    plain = slashed.with_columns(since=pl.Series([f"2024-01-{day:02}" for day in range(1, 14)]))
    assert evaluated(people, slashed, tmp_path) == evaluated(people, plain, tmp_path)
    # A row without a target does not count here either.
    unknown = slashed.with_columns(leaves=pl.Series(["yes"] * 12 + [None]))
    with pytest.raises(DatasetMisfit, match=r"column 'since': '.*' may be day/month or month/day"):
        evaluated(people, unknown, tmp_path)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("age", "old", "row 17, column 'age': 'old' is no number"),
        ("leaves", "maybe", "row 17, column 'leaves': 'maybe' is none of the 2 classes"),
        ("age", "1e308", "row 17: the features are too large"),
    ],
)
def test_what_cannot_be_used_is_named_by_its_row_of_the_table(
    people: Predictor, tmp_path: Path, column: str, value: str, reason: str
) -> None:
    columns = {
        name: [cell] * 20
        for name, cell in {"city": "Rome", "age": "70", "since": "2024-01-02"}.items()
    }
    # Fewer rows than that have a target, in every batch.
    columns["leaves"] = [None if row % 3 else "yes" for row in range(20)]
    columns["leaves"][16] = "no"
    columns[column][16] = value
    with pytest.raises(DatasetMisfit, match=re.escape(reason)):
        evaluated(people, pl.DataFrame(columns), tmp_path)


def test_a_dataset_that_is_deleted_meanwhile_is_read_to_its_end(
    sqlite_client: TestClient, tmp_path: Path
) -> None:
    dataset_id = upload(sqlite_client, tables.flowers(30))["id"]
    context: Context = sqlite_client.app.state.context  # type: ignore[attr-defined]
    with context.database.read() as transaction:
        dataset = datasets.get(transaction, dataset_id, tenant=DEFAULT_TENANT)
    rows = scan(context.artifacts, dataset, columns={"label", "more"})
    assert sqlite_client.delete(f"/v1/datasets/{dataset_id}").status_code == 204
    assert rows.slice(28, 5).collect().to_dict(as_series=False) == {
        "label": ["versicolor", "virginica"]
    }
    with pytest.raises(DatasetNotFound):
        scan(context.artifacts, dataset, columns={"label"})


@pytest.mark.parametrize("missing", ["leaves", "age"])
def test_a_column_that_is_not_there_is_named(
    people: Predictor, tmp_path: Path, missing: str
) -> None:
    frame = read_lines([["Oslo", "70", "2024-01-02", "yes"]], tmp_path).drop(missing)
    with pytest.raises(DatasetMisfit, match=f"column '{missing}'"):
        evaluated(people, frame, tmp_path)


def test_more_scores_than_there_may_be_are_refused(
    people: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = read_lines([["Oslo", "70", "2024-01-02", "yes"]] * 3, tmp_path)
    monkeypatch.setattr(evaluation, "MAX_SCORES", 6)
    assert evaluated(people, frame, tmp_path).num_rows == 3
    monkeypatch.setattr(evaluation, "MAX_SCORES", 5)
    with pytest.raises(TooManyScores, match="3 rows are too many to score 2 outputs of each"):
        evaluated(people, frame, tmp_path)


@pytest.mark.parametrize("leave_bytes", [0, MiB])
def test_without_room_for_the_scores_nothing_is_left(tmp_path: Path, leave_bytes: int) -> None:
    predictor = Predictor(*make_model(num_features=1, num_classes=2))
    # Two probabilities and four more numbers of a row are six MiB.
    rows = MiB // 8
    frame = pl.DataFrame({"feature 0": [10.0] * rows, "target": ["class 0"] * rows})
    with small_disk(tmp_path / "disk", size_bytes=8 * MiB) as disk:
        disk.fill(leave_bytes=leave_bytes)
        path = tmp_path / "table"
        frame.write_parquet(path)
        with pytest.raises(OSError) as caught:  # noqa: PT011 - that it is told apart is the point
            evaluation.evaluate(predictor, table.scan(path), num_rows=rows, scratch=disk.folder)
        assert is_disk_full(caught.value)
        assert [path.name for path in disk.folder.iterdir()] == ["ballast"]
        disk.free()
        scores = evaluation.evaluate(
            predictor, table.scan(path), num_rows=rows, scratch=disk.folder
        )
        assert scores.num_rows == rows


NUM_FEATURES = 64
BATCH_ROWS = 8192
NUM_BATCHES = 64  # so many that they outweigh what allocators keep
ROW_BYTES = 8 * NUM_FEATURES  # in the table, beside the target


def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    two = {name: [1.0, 2.0] for name in feature_names(NUM_FEATURES)}
    batch = pl.DataFrame(two | {"target": ["class 0", "class 1"]})
    batch = pl.concat([batch] * (BATCH_ROWS // 2), rechunk=True)
    for num_batches in (2, NUM_BATCHES):
        table.write(pl.concat([batch.lazy()] * num_batches), tmp_path / str(num_batches))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as process:
        grown_bytes = process.submit(grown_by, tmp_path).result()
    # The table alone has 520 bytes a row. Of those with a target some 60 are needed, eight numbers:
    # its class and its prediction, and what a class is ranked by. To that comes what allocators
    # keep of batches, each of 4 MiB, which does not grow with their number.
    assert grown_bytes < (NUM_BATCHES - 2) * BATCH_ROWS * ROW_BYTES / 2


def grown_by(folder: Path) -> int:
    """By how many bytes more the larger table needs, in a process of its own."""
    torch.set_num_threads(1)
    serving_tables.MAX_BATCH_ROWS = BATCH_ROWS
    predictor = Predictor(*make_model(num_features=NUM_FEATURES, num_classes=2))
    peaks = []
    for num_batches in (2, NUM_BATCHES):
        num_rows = num_batches * BATCH_ROWS
        scores = evaluation.evaluate(
            predictor,
            table.scan(folder / str(num_batches)),
            num_rows=num_rows,
            scratch=folder / "scratch",
        )
        assert scores.num_rows == num_rows
        peaks.append(peak_bytes())
    return peaks[1] - peaks[0]


def peak_bytes() -> int:
    """The most memory that this program has had; `ru_maxrss` would begin with its parent's."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])
