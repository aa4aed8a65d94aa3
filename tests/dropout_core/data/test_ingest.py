import gzip
import io
import json
import os
import pickle
import signal
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from multiprocessing import Pipe, forkserver
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
import pytest
from polars.exceptions import PolarsError

from dropout_core.data import ingest as module
from dropout_core.data.formats import NumberFormat
from dropout_core.data.ingest import Limits, Table, ingest, warm_up
from dropout_core.data.read_options import MISSING_WORDS, ReadOptions
from dropout_core.errors import DataError
from tests.support.waiting import wait_until

MEBIBYTE = 1 << 20
LIMITS = Limits(max_bytes=16 * MEBIBYTE, memory_bytes=512 * MEBIBYTE, seconds=60, max_columns=1000)


@pytest.fixture(autouse=True, scope="module")
def own_server() -> Iterator[None]:
    """Readers are forked from a server of these tests': others preload other modules."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    warm_up()
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


def ingest_bytes(
    folder: Path, *contents: bytes, limits: Limits = LIMITS, **arguments: Any
) -> Table:
    """Whatever happens, nothing but a whole table is left beside the files."""
    sources = [folder / str(index) for index in range(len(contents))]
    for source, content in zip(sources, contents, strict=True):
        source.write_bytes(content)
    is_whole = False
    try:
        table = ingest(sources, folder / "table", limits=limits, **arguments)
        is_whole = True
    finally:
        left = {path.name for path in folder.iterdir()} - {source.name for source in sources}
        assert left == ({"table"} if is_whole else set())
        assert not readers()
    return table


def readers() -> list[psutil.Process]:
    """The processes that read: children of the server that they are forked from."""
    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    return psutil.Process(server).children()


def test_an_upload_becomes_a_table_with_its_columns(tmp_path: Path) -> None:
    table = ingest_bytes(tmp_path, b"a;b;c\n1;x;\n2;y;\n", options=ReadOptions(quote=""))
    assert table.format == "csv"
    settled = {"delimiter": ";", "quote": "", "encoding": "utf-8", "header": True}
    assert table.options == settled | {"missing": list(MISSING_WORDS), "lenient": []}
    assert table.num_rows == 2
    assert [(column.name, column.stored_as) for column in table.columns] == [
        ("a", "number"),
        ("b", "text"),
    ]
    assert table.warnings == ["column 'c' has no values and is left out"]
    stored = pl.read_parquet(tmp_path / "table")
    assert stored.to_dict(as_series=False) == {"a": [1, 2], "b": ["x", "y"]}


@pytest.mark.parametrize(
    "text", [b",a\n7,1\n8,2\n7,2\n", b'"","a"\n"x","1"\n"y","2"\n', b"\ta\n1\t3\n2\t4\n"]
)
def test_a_first_column_without_a_name_is_an_index(tmp_path: Path, text: bytes) -> None:
    columns = ingest_bytes(tmp_path, text).columns
    assert [(column.name, column.type) for column in columns] == [
        ("column_1", "identifier"),
        ("a", columns[1].type),
    ]
    assert columns[1].type != "identifier"


def test_several_first_columns_without_a_name_are_an_index(tmp_path: Path) -> None:
    columns = ingest_bytes(tmp_path, b",,a\n0,1,1\n0,2,3\n1,1,3\n").columns
    assert [column.type for column in columns] == ["identifier", "identifier", "numeric"]


def test_an_unnamed_column_among_others_is_no_index(tmp_path: Path) -> None:
    columns = ingest_bytes(tmp_path, b"a,\n1,1\n2,1\n2,5\n").columns
    assert [column.type for column in columns] == ["numeric", "numeric"]


@pytest.mark.parametrize(
    ("metadata", "index"),
    [
        ({"index_columns": ["day", {"kind": "range", "name": None}]}, ["day"]),
        ({"index_columns": ["day", "none such", "a"]}, ["day", "a"]),
        ({"index_columns": [{"kind": "range"}]}, []),
        ({}, []),
        ([], []),
        ("x", []),
    ],
)
def test_the_index_of_a_pandas_frame_is_no_feature(
    tmp_path: Path, metadata: Any, index: list[str]
) -> None:
    frame = pl.DataFrame({"a": [1.5, 2.5], "day": [datetime(2024, 1, 1), datetime(2024, 1, 2)]})
    content = io.BytesIO()
    frame.write_parquet(content, metadata={"pandas": json.dumps(metadata)})
    columns = ingest_bytes(tmp_path, content.getvalue()).columns
    assert [column.name for column in columns if column.type == "identifier"] == sorted(
        index, key=frame.columns.index
    )


def test_cells_are_left_as_text_where_that_is_asked_for(tmp_path: Path) -> None:
    table = ingest_bytes(tmp_path, b"a,b\n007,\nNA,\n", as_text=True)
    assert (table.num_rows, table.columns, table.warnings) == (2, [], [])
    stored = pl.read_parquet(tmp_path / "table")
    assert stored.to_dict(as_series=False) == {"a": ["007", "NA"], "b": ["", ""]}


def test_images_and_labels_are_one_table(tmp_path: Path) -> None:
    images = b"\0\0\x08\x03" + struct.pack(">III", 2, 1, 2) + bytes([1, 2, 3, 4])
    labels = b"\0\0\x08\x01" + struct.pack(">I", 2) + bytes([5, 6])
    table = ingest_bytes(tmp_path, gzip.compress(labels, mtime=0), images)
    assert table.format == "idx"
    assert [column.name for column in table.columns] == ["pixel_0", "pixel_1", "label"]


def test_a_column_tells_how_its_text_was_written_and_what_it_was_told(tmp_path: Path) -> None:
    options = ReadOptions(types={"zip": "categorical", "id": "numeric"})
    rows = "".join(f"{row + 1};{row};1.234,5;{row}\n" for row in range(60))
    table = ingest_bytes(tmp_path, f"id;zip;price;no\n{rows}".encode(), options=options)
    german = NumberFormat(decimal=",", thousands=".")
    assert [(column.name, column.type, column.format) for column in table.columns] == [
        ("id", "numeric", german),
        ("zip", "categorical", None),
        ("price", "constant", german),
        ("no", "identifier", german),
    ]


def test_an_error_carries_its_place(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.savez(file, b=np.array([2, np.inf]))
    with pytest.raises(DataError, match="row 2, column 'b': inf is not") as caught:
        ingest_bytes(tmp_path, file.getvalue())
    assert (caught.value.row, caught.value.column) == (2, "b")


def test_a_table_is_replaced_by_a_whole_one_alone(tmp_path: Path) -> None:
    source, target = tmp_path / "file", tmp_path / "table"
    target.write_text("before")
    source.write_bytes(b"a,b\n1,2\n3\n")
    with pytest.raises(DataError):
        ingest([source], target, limits=LIMITS)
    assert target.read_text() == "before"
    source.write_bytes(b"a,b\n1,2\n")
    ingest([source], target, limits=LIMITS)
    assert len(pl.read_parquet(target)) == 1


def limits(**changed: Any) -> Limits:
    return Limits(**{**LIMITS.__dict__, **changed})


def npz(rows: int) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.arange(rows))
    return buffer.getvalue()


def bomb(rows: int) -> bytes:
    """Equal values, which Parquet holds as one and their number."""
    buffer = io.BytesIO()
    table = pl.select(x=pl.repeat(0, rows, dtype=pl.Int8))
    table.write_parquet(buffer, row_group_size=rows)
    assert len(buffer.getvalue()) < MEBIBYTE
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "changed", "message"),
    [
        (b"a,b\n1,2\n", {"seconds": 0.0}, "takes more than the 0 s allowed"),
        (npz(10**6), {"memory_bytes": 6 * MEBIBYTE}, "more than the 6 MiB of memory allowed"),
        (
            bomb(20_000_000),
            {"memory_bytes": 64 * MEBIBYTE, "max_bytes": 1 << 30},
            "more than the 64 MiB of memory allowed",
        ),
        (
            gzip.compress(bytes(MEBIBYTE), mtime=0),
            {"max_bytes": 1000},
            "more than the 1000 bytes allowed",
        ),
        (b"a,b\n1,2\n", {"max_columns": 1}, "2 columns, 1 are allowed"),
        (npz(1000), {"max_bytes": 1000}, "the file unpacks to 8128 bytes, 1000 are allowed"),
    ],
)
def test_reading_stops_at_each_limit(
    tmp_path: Path, content: bytes, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        ingest_bytes(tmp_path, content, limits=limits(**changed))


def test_a_reader_that_is_killed_is_an_error(tmp_path: Path) -> None:
    """Linux kills when its memory is used up."""

    def kill() -> None:
        wait_until(readers)
        readers()[0].send_signal(signal.SIGKILL)

    content = gzip.compress(b"1,2\n" * (3 * MEBIBYTE), compresslevel=1, mtime=0)
    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(kill)
        with pytest.raises(DataError, match="more than the 512 MiB of memory allowed"):
            ingest_bytes(tmp_path, content)
        killing.result()


def test_a_reader_that_dies_while_it_answers_has_said_nothing() -> None:
    ours, theirs = Pipe(duplex=False)
    with ours:
        with theirs:
            os.write(theirs.fileno(), struct.pack("!i", 100) + b"half of it")
        with pytest.raises(EOFError):
            module._received(ours, LIMITS)


@pytest.mark.parametrize("answer", [pickle.dumps(Table("csv", {}, 1, [], [])), b"{}", b"[" * 9999])
def test_a_reader_says_nothing_but_an_answer(answer: bytes) -> None:
    ours, theirs = Pipe(duplex=False)
    with ours, theirs:
        theirs.send_bytes(answer)
        with pytest.raises(EOFError):
            module._received(ours, LIMITS)


def test_a_flaw_of_a_reader_has_a_name() -> None:
    with pytest.raises(DataError, match="the file cannot be read: invalid literal"):
        module._ask(partial(int, "x"), LIMITS)  # type: ignore[arg-type]


def environment() -> Table:
    """What a reader sees, as the answer of one."""
    start = Path("/proc/self/environ").read_bytes().strip(b"\0").decode()
    return Table("csv", {"environment": dict(os.environ), "at the start": start}, 1, [], [])


def test_a_reader_inherits_no_environment() -> None:
    table = module._ask(environment, LIMITS)
    assert set(table.options["environment"]) <= {"POLARS_MAX_THREADS"}
    assert table.options["at the start"] == ""


@pytest.mark.parametrize(
    ("reason", "is_memory"),
    [
        ("Cannot allocate memory (os error 12)", True),
        ("memory allocation of 8000 bytes failed", True),
        ("failed to allocate 8000 bytes", True),
        ("Allocation error : not enough memory", True),
        ("cannot cast List inner type of 'allocation'", False),
        ("duplicate: column with name 'allocated' has more than one occurrence", False),
    ],
)
def test_a_parser_without_memory_is_told_by_what_it_says(reason: str, is_memory: bool) -> None:
    assert module._is_memory(PolarsError(reason)) is is_memory


def test_a_fifth_reader_waits_for_its_turn(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a,b\n1,2\n")
    with ThreadPoolExecutor(1) as pool, ExitStack() as turns:
        for owner in ("a", "a", "b", "b"):
            turns.enter_context(module._readers.take(owner))
        reading = pool.submit(ingest, [tmp_path / "file"], tmp_path / "table", limits=LIMITS)
        wait_until(lambda: module._readers.num_waiting)
        assert not readers()
        turns.close()
        assert reading.result().num_rows == 1


def test_uploads_are_read_from_many_threads_at_once(tmp_path: Path) -> None:
    def read(index: int) -> int:
        folder = tmp_path / str(index)
        folder.mkdir()
        (folder / "file").write_bytes(b"a,b\n" + b"1,2\n" * index)
        return ingest([folder / "file"], folder / "table", limits=LIMITS).num_rows

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, range(1, 7))) == [1, 2, 3, 4, 5, 6]
    assert not readers()
