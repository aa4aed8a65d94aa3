"""Compare two server processes on two cores with one process on one core.

On a machine with two cores, wrk takes its share of the cores of the two processes. Their rate
without wrk follows from the CPU time of a request.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.serving import cores, wrk
from benchmarks.serving.protocols import Protocol
from benchmarks.serving.servers import Running, running, service
from benchmarks.serving.throughput import some_rows


@dataclass(frozen=True)
class Share:
    """The rate of a number of API processes: requests a second, and requests a CPU second.

    `load_cores` are the cores that wrk used; `connections` are its connections by process.
    """

    requests_per_second: float
    requests_per_cpu_second: float
    load_cores: float
    connections: list[int]


def measure(
    data_dir: Path, protocol: Protocol, *, num_rounds: int, seconds: float
) -> dict[int, list[Share]]:
    """Measure requests of one JSON row, by number of processes and round. Raises ServerFailed."""
    shares: dict[int, list[Share]] = {1: [], 2: []}
    for _ in range(num_rounds):
        for num_processes, found in shares.items():
            cores.pin_this(cores.of_load(num_processes))
            server = service(data_dir, num_processes=num_processes)
            with running(server, num_processes=num_processes) as it:
                found.append(_measure(it, protocol, seconds=seconds))
    cores.pin_this(cores.of_load(1))
    return shares


def _measure(server: Running, protocol: Protocol, *, seconds: float) -> Share:
    processes = server.api_processes()
    for process, core in zip(processes, cores.of_servers(len(processes)), strict=True):
        cores.pin(process, [core])
    bodies = [protocol.encode(rows) for rows in some_rows(1)]
    url = server.url(protocol.path)
    wrk.warm_up(url, bodies)
    served, asked = cores.cpu_seconds(processes), wrk.cpu_seconds()
    with wrk.loading(url, bodies, seconds=seconds) as load:
        time.sleep(seconds / 2)
        connections = _connections(psutil.Process(load.pid), processes)
        measured = wrk.finish(load)
    wrk.require_success(measured)
    return Share(
        requests_per_second=measured.requests_per_second,
        requests_per_cpu_second=measured.num_requests / (cores.cpu_seconds(processes) - served),
        load_cores=(wrk.cpu_seconds() - asked) / measured.seconds,
        connections=connections,
    )


def _connections(load: psutil.Process, processes: Sequence[psutil.Process]) -> list[int]:
    """Return how many connections of `load` each process has."""
    asking = {each.laddr for each in load.net_connections("tcp")}
    return [
        sum(each.raddr in asking for each in process.net_connections("tcp"))
        for process in processes
    ]
