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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import polars as pl

from dropout_core.data.columns import Column, describe
from dropout_core.data.read_options import ReadOptions
from dropout_core.data.readers import Format, convert
from dropout_core.data.readers.table import scan
from dropout_core.errors import DataError
from dropout_core.files import NO_SPACE, is_disk_full

_MAX_THREADS = 4  # more threads are hardly faster, and each needs memory
_MAX_GROWTH = 8  # a cell of 1 byte and its delimiter become a number of 8 bytes
_DEATH_SECONDS = 10  # how long a killed process may take to end
_GRACE_SECONDS = 5  # after its time limit, a reader whose caller died ends itself

_MAX_READERS = 4

# How a library says that memory is used up. A quoted column `allocation` does not match.
_NO_MEMORY = re.compile(
    r"(?:fail|cannot|unable|could not)[^'\"`]*allocat"
    r"|allocation (?:of [^'\"`]* )?(?:failed|error)|os error 12|^can't start new thread"
)

_processes = multiprocessing.get_context("forkserver")
_starting = threading.Lock()
_readers = threading.BoundedSemaphore(_MAX_READERS)


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

    `options` are those of a text file as settled (`delimiter`, `quote`, `encoding`, `header`, and
    `missing`: all the words that stood for a missing value), and `warnings` say what was changed or
    looks like a mistake.
    """

    format: Format
    options: dict[str, Any]
    num_rows: int
    columns: list[Column]
    warnings: list[str]


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
) -> Table:
    """Read an upload (one file, or IDX images and their labels); write its table to `target`.

    With `as_text` the cells of a text file stay as they are written, all strings, and columns are
    not described. A failure leaves no `target`. Each reader may take all the memory of its limits:
    at most four read at once, others wait for their turn. Raises DataError if the file cannot be
    used or takes more than the limits, and OSError if the disk is full.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".ingest-") as folder:
        table = Path(folder) / "table"
        read = partial(
            _read, tuple(sources), table, options=options, limits=limits, as_text=as_text
        )
        with _readers:
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
        answer = _received(ours)
    except EOFError:
        process.join(_DEATH_SECONDS)
        raise _why_it_died(process.exitcode, limits) from None
    finally:
        ours.close()
        process.kill()
        process.join(_DEATH_SECONDS)
        process.close()
    if isinstance(answer, DataError | OSError):
        raise answer
    assert isinstance(answer, Table)
    return answer


def _received(connection: Connection) -> Any:
    """Return the answer. Raises EOFError if the sender died before or while it sent it."""
    try:
        return connection.recv()
    except OSError as error:
        raise EOFError from error


def _why_it_died(exit_code: int | None, limits: Limits) -> DataError:
    # Rust aborts when an allocation fails, and Linux kills when its memory is used up.
    if exit_code in (-signal.SIGABRT, -signal.SIGKILL):
        return _out_of_memory(limits)
    if exit_code is not None and exit_code < 0:
        return DataError(f"the file made its reader crash ({signal.Signals(-exit_code).name})")
    return DataError("the file made its reader fail")


def _out_of_memory(limits: Limits) -> DataError:
    mebibytes = limits.memory_bytes / 2**20
    return DataError(f"reading the file takes more than the {mebibytes:.0f} MiB of memory allowed")


def _run(connection: Connection, read: Callable[[], Table], limits: Limits) -> None:
    """Read and send the answer, in the child."""
    answer: Table | DataError | OSError
    _limit(limits)
    try:
        answer = read()
    except (DataError, MemoryError, OSError, RuntimeError) as error:
        answer = _failure(error, limits)
    connection.send(answer)


def _failure(error: Exception, limits: Limits) -> DataError | OSError:
    """Return the error that tells the caller why reading failed; raise an unforeseen one."""
    reason = error.__cause__ if isinstance(error, DataError) else error
    if is_disk_full(reason):
        return OSError(errno.ENOSPC, NO_SPACE)
    if _is_memory(reason):
        return _out_of_memory(limits)
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return DataError(
            f"the file unpacks to more than {_MAX_GROWTH} times the {limits.max_bytes} bytes "
            "allowed"
        )
    if isinstance(error, DataError):
        return error
    raise error


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
) -> Table:
    format_, contents = convert(
        sources,
        target,
        options=options,
        max_bytes=limits.max_bytes,
        max_columns=limits.max_columns,
        as_text=as_text,
    )
    return Table(
        format=format_,
        options=contents.options,
        num_rows=contents.num_rows,
        columns=[] if as_text else describe(scan(target), index=contents.index),
        warnings=list(contents.warnings),
    )


def _is_memory(error: BaseException | None) -> bool:
    return isinstance(error, MemoryError) or bool(_NO_MEMORY.search(str(error).lower()))
