"""Measure servers in turn, round by round: requests a second, and latency at half that rate."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import nn

from benchmarks.serving import open_loop, wrk
from benchmarks.serving.network import Rows, answers, random_rows
from benchmarks.serving.protocols import Protocol
from benchmarks.serving.servers import Running, Server, ServerFailed, running
from benchmarks.serving.wrk import Measured

NUM_BODIES = 16
TOLERANCE = 1e-5  # in a probability: servers may add in another order


@dataclass(frozen=True)
class Load:
    """Requests of `num_rows` rows: a line in the table of that number."""

    name: str
    protocol: Protocol
    num_rows: int


@dataclass(frozen=True)
class Contender:
    """A server and its loads. Latency is measured with the first load."""

    server: Server
    loads: Sequence[Load]

    def with_rows(self, chosen: Collection[int]) -> "Contender":
        """Return the contender with only its loads of these numbers of rows."""
        return Contender(self.server, [load for load in self.loads if load.num_rows in chosen])


@dataclass
class Results:
    """`measured` by number of rows, name of the load and round; `latencies` by name and round."""

    measured: dict[int, dict[str, list[Measured]]] = field(default_factory=dict)
    latencies: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)


def measure(
    contenders: Sequence[Contender],
    network: nn.Module,
    *,
    num_rounds: int,
    seconds: float,
    with_latency: bool,
) -> Results:
    """Measure one server process at a time, on its own core.

    Raises ServerFailed if a server does not answer as `network` does, or not every request.
    """
    results = Results()
    for number in range(1, num_rounds + 1):
        print(f"round {number} of {num_rounds}", flush=True)
        for contender in contenders:
            with running(contender.server) as server:
                for load in contender.loads:
                    check(server, load, network)
                    measured = _measure_load(server, load, seconds)
                    by_name = results.measured.setdefault(load.num_rows, {})
                    by_name.setdefault(load.name, []).append(measured)
                if with_latency:
                    _add_latency(results, server, contender.loads[0], seconds)
    return results


def check(server: Running, load: Load, network: nn.Module) -> None:
    """Raise ServerFailed unless the probabilities are those that torch computes."""
    rows = random_rows(load.num_rows, seed=1)
    expected = answers(network, rows)
    given = load.protocol.ask(server.client, rows)
    if given.shape != expected.shape or not np.allclose(given, expected, rtol=0, atol=TOLERANCE):
        raise ServerFailed(f"{load.name} answers {load.num_rows} rows differently from torch")


def _measure_load(server: Running, load: Load, seconds: float) -> Measured:
    bodies = [load.protocol.encode(rows) for rows in some_rows(load.num_rows)]
    url = server.url(load.protocol.path)
    wrk.warm_up(url, bodies)
    return wrk.load(url, bodies, seconds=seconds)


def _add_latency(results: Results, server: Running, load: Load, seconds: float) -> None:
    """Measure latency at half the rate of the closed loop that was just measured."""
    rate = results.measured[load.num_rows][load.name][-1].requests_per_second / 2
    bodies = [load.protocol.encode(rows) for rows in some_rows(load.num_rows)]
    taken = open_loop.latencies(server.port, load.protocol.path, bodies, rate=rate, seconds=seconds)
    results.latencies.setdefault(load.name, []).append(taken)


def some_rows(num_rows: int) -> list[Rows]:
    return [random_rows(num_rows, seed=seed) for seed in range(NUM_BODIES)]
