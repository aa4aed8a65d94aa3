"""Read an upload into the stored table, in a process with limits.

Uploads are not trusted, and their parsers are written in C and Rust: reading may crash, take all
memory or never end. A process of its own keeps all of that from the caller. Free of torch.
"""

import errno
import multiprocessing
import os
import re
import resource
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import TypeAdapter, ValidationError

from dropout_core.data.columns import Column, describe
from dropout_core.data.isolation import isolate
from dropout_core.data.read_options import ReadOptions
from dropout_core.data.readers import Format, convert
from dropout_core.data.readers.table import Contents, scan
from dropout_core.data.turns import Turns
from dropout_core.errors import DataError
from dropout_core.files import NO_SPACE, is_disk_full

_MAX_THREADS = 4  # more threads are hardly faster, and each needs memory
_MAX_GROWTH = 8  # a cell of 1 byte and its delimiter become a number of 8 bytes
_DEATH_SECONDS = 10  # how long a killed process may take to end
_GRACE_SECONDS = 5  # after its time limit, a reader whose caller died ends itself

_MAX_READERS = 4

_ANSWER_BYTES = 1 << 24
_COLUMN_BYTES = 1 << 14
_MESSAGE_CHARACTERS = 500

# How a library says that memory is used up. A quoted column `allocation` does not match.
_NO_MEMORY = re.compile(
    r"(?:fail|cannot|unable|could not)[^'\"`]*allocat"
    r"|allocation (?:of [^'\"`]* )?(?:failed|error)|os error 12|^can't start new thread"
)

_processes = multiprocessing.get_context("forkserver")
_starting = threading.Lock()
_readers = Turns(_MAX_READERS)


@dataclass(frozen=True)
class Limits:
    """The limits on reading an upload.

    `max_bytes` is what a compressed file may unpack to, `memory_bytes` what the process may
    allocate for it, `seconds` how long it may take in all.
    """

    max_bytes: int
    memory_bytes: int
    seconds: float
    max_columns: int


@dataclass(frozen=True)
class Table:
    """The description of a stored table: its origin and its columns.

    `options` are those of a text file as settled: `delimiter`, `quote`, `encoding`, `header`,
    `missing`, all the words that stood for a missing value, and `lenient`, the columns in which
    cells that could not be read are missing. `warnings` say what was changed or looks like a
    mistake.
    """

    format: Format
    options: dict[str, Any]
    num_rows: int
    columns: list[Column]
    warnings: list[str]


@dataclass(frozen=True)
class Failure:
    """Why a table could not be read."""

    message: str
    row: int | None = None
    column: str | None = None
    field: str | None = None
    is_disk_full: bool = False

    def error(self) -> DataError | OSError:
        if self.is_disk_full:
            return OSError(errno.ENOSPC, self.message)
        return DataError(self.message, row=self.row, column=self.column, field=self.field)


_ANSWERS: TypeAdapter[Table | Failure] = TypeAdapter(Table | Failure)
"""What a reader sends, in JSON: a pickle could run code in the process that loads it."""


def warm_up() -> None:
    """Start the server that readers are forked from, and wait until it has loaded them."""
    with _starting:
        _processes.set_forkserver_preload(["__main__", __name__])
        process = _processes.Process(daemon=True)
        process.start()
        process.join()


def ingest(
    sources: Sequence[Path],
    target: Path,
    *,
    options: ReadOptions | None = None,
    limits: Limits,
    as_text: bool = False,
    names: Collection[str] = (),
    owner: str = "",
) -> Table:
    """Read an upload (one file, or IDX images and their labels); write its table to `target`.

    With `as_text` the cells of a text file stay as they are written, all strings, and columns are
    not described. A first row of a text file with all of the `names`, if there are any, is a
    header. A failure leaves no `target`. Each reader may take all the memory of its limits: at most
    four read at once, three of them for one `owner`, and others wait for their turn. Raises
    DataError if the file cannot be used or takes more than the limits, and OSError if the disk is
    full.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".ingest-") as folder:
        table = Path(folder) / "table"
        read = partial(
            _read,
            tuple(sources),
            table,
            options=options,
            limits=limits,
            as_text=as_text,
            names=tuple(names),
        )
        with _readers.take(owner):
            answer = _ask(read, limits)
        table.replace(target)
    return answer


def _ask(read: Callable[[], Table], limits: Limits) -> Table:
    """Read in another process. Raises DataError and OSError."""
    ours, theirs = _processes.Pipe(duplex=False)
    process = _processes.Process(target=_run, args=(theirs, read, limits), daemon=True)
    with _starting:
        _processes.set_forkserver_preload(["__main__", __name__])
        process.start()
    try:
        theirs.close()  # so that the process's death is the end of the pipe
        if not ours.poll(limits.seconds):
            raise DataError(f"reading the file takes more than the {limits.seconds:g} s allowed")
        answer = _received(ours, limits)
    except EOFError:
        process.join(_DEATH_SECONDS)
        raise _why_it_died(process.exitcode, limits) from None
    finally:
        ours.close()
        process.kill()
        process.join(_DEATH_SECONDS)
        process.close()
    if isinstance(answer, Failure):
        raise answer.error()
    return answer


def _received(connection: Connection, limits: Limits) -> "Table | Failure":
    """Return the answer, which is checked as anything from outside.

    Raises EOFError if the sender died before or while it sent it, or sent anything else.
    """
    try:
        answer = connection.recv_bytes(_ANSWER_BYTES + limits.max_columns * _COLUMN_BYTES)
        return _ANSWERS.validate_json(answer)
    except (OSError, ValidationError) as error:
        raise EOFError from error


def _why_it_died(exit_code: int | None, limits: Limits) -> DataError:
    # Rust aborts when an allocation fails, and Linux kills when its memory is used up.
    if exit_code in (-signal.SIGABRT, -signal.SIGKILL):
        return DataError(_out_of_memory(limits))
    if exit_code is not None and exit_code < 0:
        return DataError(f"the file made its reader crash ({signal.Signals(-exit_code).name})")
    return DataError("the file made its reader fail")


def _out_of_memory(limits: Limits) -> str:
    mebibytes = limits.memory_bytes / 2**20
    return f"reading the file takes more than the {mebibytes:.0f} MiB of memory allowed"


def _run(connection: Connection, read: Callable[[], Table], limits: Limits) -> None:
    """Read and send the answer, in the child."""
    isolate()
    _limit(limits)
    answer: Table | Failure
    try:
        answer = read()
    except BaseException as error:  # each library in Rust has a panic of its own
        answer = _failure(error, limits)
    connection.send_bytes(_ANSWERS.dump_json(answer))


def _failure(error: BaseException, limits: Limits) -> Failure:
    """Return the error that tells the caller why reading failed."""
    reason = error.__cause__ if isinstance(error, DataError) else error
    if is_disk_full(reason):
        return Failure(NO_SPACE, is_disk_full=True)
    if _is_memory(reason):
        return Failure(_out_of_memory(limits))
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return Failure(
            f"the file unpacks to more than {_MAX_GROWTH} times the {limits.max_bytes} bytes "
            "allowed"
        )
    if isinstance(error, DataError):
        return Failure(error.message, row=error.row, column=error.column, field=error.field)
    traceback.print_exception(error)  # for the operator: the reader has a flaw
    what = (str(error).splitlines() or [""])[0][:_MESSAGE_CHARACTERS]
    return Failure(f"the file cannot be read: {what or type(error).__name__}")


def _limit(limits: Limits) -> None:
    os.environ["POLARS_MAX_THREADS"] = str(min(_MAX_THREADS, len(os.sched_getaffinity(0))))
    # A thread that cannot start for lack of memory would be waited for, not reported.
    pl.LazyFrame({"x": [0]}).collect(engine="streaming")
    memory_bytes = _data_bytes() + limits.memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    file_bytes = _MAX_GROWTH * limits.max_bytes
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.setitimer(signal.ITIMER_REAL, limits.seconds + _GRACE_SECONDS)  # the signal kills


def _data_bytes() -> int:
    """Return what the server had allocated before it forked; little of it is ever touched."""
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    return pages * resource.getpagesize()


def _read(
    sources: Sequence[Path],
    target: Path,
    *,
    options: ReadOptions | None,
    limits: Limits,
    as_text: bool,
    names: Collection[str],
) -> Table:
    format_, contents = convert(
        sources,
        target,
        options=options,
        max_bytes=limits.max_bytes,
        max_columns=limits.max_columns,
        as_text=as_text,
        names=names,
    )
    return Table(
        format=format_,
        options=contents.options,
        num_rows=contents.num_rows,
        columns=[] if as_text else _described(target, contents, options),
        warnings=list(contents.warnings),
    )


def _described(target: Path, contents: Contents, options: ReadOptions | None) -> list[Column]:
    """Return the description of the columns, with what reading them found out or was told."""
    declared = options.types if options is not None else {}
    described = []
    for column in describe(scan(target), index=contents.index):
        told: dict[str, Any] = {"format": contents.formats.get(column.name)}
        if column.name in declared and column.type != "constant":
            told["type"] = declared[column.name]
        described.append(column.model_copy(update=told))
    return described


def _is_memory(error: BaseException | None) -> bool:
    return isinstance(error, MemoryError) or bool(_NO_MEMORY.search(str(error).lower()))
