"""Measure serving speed as ratios against other servers, interleaved in one run.

    python -m benchmarks.serving --peers .venv-serving-peers --json out.json --png out.png

Every server has the same network and one thread for it, on the first core; its clients have the
other cores. A round starts each server in turn, checks that it answers as torch does, has wrk send
requests over eight connections as fast as it answers, and then sends requests of one row at half
that rate, whether or not earlier ones were answered. Then the service alone is measured: two
processes, equal bits, an alias that moves. This needs Linux, for its CPU affinities.
"""

import argparse
import dataclasses
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.goals import goals_table
from benchmarks.options import option_parser, write_report
from benchmarks.run_folder import benchmark_run
from benchmarks.serving import (
    aliases,
    contenders,
    cores,
    goals,
    processes,
    report,
    same_bits,
    wrk,
)
from benchmarks.serving.network import as_plain_network, train
from benchmarks.serving.servers import ServerFailed, running, service, versions
from benchmarks.serving.throughput import Results
from benchmarks.serving.throughput import measure as measure_throughput

PARTS = ("1-row", "64-rows", "latency", "processes", "same-bits", "aliases")


@dataclass(frozen=True)
class Subject:
    """A data directory with two versions of the network, and the first one's id and weights."""

    data_dir: Path
    model: str
    network: nn.Module
    weights: Path


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    wrk.require_wrk()
    cores.pin_this(cores.of_load(1))
    found: dict[str, Any] = {
        "num_rounds": options.rounds,
        "seconds": options.seconds,
        "num_cores": os.cpu_count(),
        "load_average_before": os.getloadavg()[0],
        "versions": versions(options.peers),
    }
    print(f"{options.rounds} rounds, load average before {found['load_average_before']:.1f}")
    try:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            found |= measure(prepare(Path(folder)), options)
    except ServerFailed as error:
        raise SystemExit(f"error: {error}") from error
    if not found["latency"]:
        options.png = None  # there is nothing to draw
    write_report(found, options)


def prepare(folder: Path) -> Subject:
    """Train the network twice, and write the weights of the first as a torch file."""
    data_dir = folder / "data"
    with running(service(data_dir)) as server:
        models = [train(server.client, seed=seed) for seed in range(2)]
        artifact = server.client.get(f"/v1/models/{models[0]}").raise_for_status().json()["job"]
    [model_folder] = (data_dir / "artifacts" / "jobs" / artifact).glob("*/model")
    network = as_plain_network(model_folder)
    weights = folder / "weights.pt"
    torch.save(network.state_dict(), weights)
    return Subject(data_dir, models[0], network, weights)


def measure(subject: Subject, options: argparse.Namespace) -> dict[str, Any]:
    """Measure the selected parts, print each when it is done, and return them with the goals."""
    how = {"num_rounds": options.rounds, "seconds": options.seconds}
    plain = contenders.ours(subject.data_dir, subject.model).loads[0].protocol
    results, shares = Results(), {}
    answers, moves = None, None
    if options.only & {"1-row", "64-rows", "latency"}:
        results = measure_servers(subject, options)
        print(report.throughput_table(results), flush=True)
    if "latency" in options.only:
        print(report.latency_table(results), flush=True)
    if "processes" in options.only:
        shares = processes.measure(subject.data_dir, plain, **how)
        print(report.processes_table(shares), flush=True)
    if "same-bits" in options.only:
        asks = same_bits.protocols(subject.model)
        answers = same_bits.measure(subject.data_dir, asks, num_requests=same_bits.NUM_REQUESTS)
        print(report.same_bits_line(answers), flush=True)
    if "aliases" in options.only:
        moves = aliases.measure(subject.data_dir)
        print(report.aliases_line(moves), flush=True)
    reached = [
        *goals.of_throughput(results),
        *goals.of_latency(results),
        *goals.of_processes(shares),
        *goals.of_same_bits(answers),
        *goals.of_aliases(moves),
    ]
    print(goals_table(reached))
    return {
        "throughput": report.of_throughput(results),
        "quantiles": report.QUANTILES,
        "latency": report.of_latency(results),
        "processes": {n: list(map(dataclasses.asdict, found)) for n, found in shares.items()},
        "same_bits": answers and dataclasses.asdict(answers),
        "aliases": moves and dataclasses.asdict(moves),
        "goals": [goal.to_dict() for goal in reached],
    }


def measure_servers(subject: Subject, options: argparse.Namespace) -> Results:
    """Measure our service and the peers, if there are any, with the selected numbers of rows."""
    entrants = [contenders.ours(subject.data_dir, subject.model)]
    if options.peers.is_dir():
        entrants += contenders.others(options.peers, subject.weights)
    else:
        print(f"no peers: {options.peers} does not exist; run `make bench-serving-peers`")
    chosen = {1} if options.only & {"1-row", "latency"} else set()
    chosen |= {contenders.MANY_ROWS} if "64-rows" in options.only else set()
    return measure_throughput(
        [entrant.with_rows(chosen) for entrant in entrants],
        subject.network,
        num_rounds=options.rounds,
        seconds=options.seconds,
        with_latency="latency" in options.only,
    )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = option_parser(__doc__, png="write a picture of the latencies here")
    parser.add_argument("--peers", type=Path, default=Path(".venv-serving-peers"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds of each measurement")
    parser.add_argument("--only", type=_parts, default=set(PARTS), help=", ".join(PARTS))
    return parser.parse_args(arguments)


def _parts(text: str) -> set[str]:
    chosen = set(text.split(","))
    if unknown := chosen - set(PARTS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))} is none of {PARTS}")
    return chosen


if __name__ == "__main__":
    with benchmark_run():
        main()
