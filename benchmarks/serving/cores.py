"""Assign cores: servers have the first ones, and their clients the others."""

import os
from collections.abc import Sequence
from contextlib import suppress

import psutil

CORES = sorted(os.sched_getaffinity(0))


def of_servers(num_processes: int) -> list[int]:
    return CORES[:num_processes]


def of_load(num_processes: int) -> list[int]:
    """Return the cores of the clients: all cores if the servers leave none."""
    return CORES[num_processes:] or CORES


def command(cores: Sequence[int]) -> list[str]:
    """Return the words before a command that keep it on these cores."""
    return ["taskset", "--cpu-list", ",".join(map(str, cores))]


def pin(process: psutil.Process, cores: Sequence[int]) -> None:
    """Pin every thread of a process to these cores."""
    for thread in process.threads():
        with suppress(ProcessLookupError):  # it ended since it was listed
            os.sched_setaffinity(thread.id, cores)


def pin_this(cores: Sequence[int]) -> None:
    """Pin this process, and processes that it starts from now on, to these cores."""
    os.sched_setaffinity(0, cores)


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)
