"""The results as tables and as JSON."""

import dataclasses
import statistics
from typing import Any

import numpy as np

from benchmarks.goals import spread
from benchmarks.serving.aliases import Moves
from benchmarks.serving.goals import OURS, ratios
from benchmarks.serving.processes import Share
from benchmarks.serving.same_bits import Answers
from benchmarks.serving.throughput import Results

# Approach the slowest request, whose own quantile would take a thousand rounds to measure.
QUANTILES = [0.0, *(1 - np.logspace(0, -3, 121)[1:]).tolist()]


def of_throughput(results: Results) -> dict[str, Any]:
    """Return the measurements of each round by number of rows and name."""
    return {
        str(num_rows): {
            name: [
                {**dataclasses.asdict(run), "requests_per_second": run.requests_per_second}
                for run in runs
            ]
            for name, runs in by_name.items()
        }
        for num_rows, by_name in results.measured.items()
    }


def of_latency(results: Results) -> dict[str, Any]:
    """Return by name each round's median and 99th percentile, and `QUANTILES` of all rounds."""
    return {
        name: {
            "p50_ms": [1000 * float(np.median(taken)) for taken in rounds],
            "p99_ms": [1000 * float(np.quantile(taken, 0.99)) for taken in rounds],
            "quantiles_ms": (1000 * np.quantile(np.concatenate(rounds), QUANTILES)).tolist(),
        }
        for name, rounds in results.latencies.items()
    }


def throughput_table(results: Results) -> str:
    lines: list[str] = []
    for num_rows, by_name in results.measured.items():
        title = f"{num_rows} row" + "s" * (num_rows > 1)
        lines.append(f"\n{title:24}{'requests/s':>26}{'p50 ms':>9}{'p99 ms':>9}{'ours / it':>26}")
        for name, runs in by_name.items():
            rate = spread([run.requests_per_second for run in runs], digits=0)
            p50, p99 = (
                statistics.median(getattr(run, field) for run in runs)
                for field in ("p50_ms", "p99_ms")
            )
            ratio = spread(ratios(results, num_rows, OURS, name))
            lines.append(f"{name:24}{rate:>26}{p50:9.2f}{p99:9.2f}{ratio:>26}")
    return "\n".join(lines)


def latency_table(results: Results) -> str:
    lines = [f"\n{'1 row at half that rate':24}{'p50 ms':>26}{'p99 ms':>26}{'p99 / p50':>26}"]
    for name, rounds in results.latencies.items():
        p50, p99 = (
            [1000 * float(np.quantile(taken, level)) for taken in rounds] for level in (0.5, 0.99)
        )
        tail = [slow / usual for slow, usual in zip(p99, p50, strict=True)]
        lines.append(f"{name:24}{spread(p50):>26}{spread(p99):>26}{spread(tail):>26}")
    return "\n".join(lines)


def processes_table(shares: dict[int, list[Share]]) -> str:
    heading = f"{'requests/s':>26}{'per CPU second':>26}{'cores of wrk':>14}  connections"
    lines = [f"\n{'API processes':15}{heading}"]
    for num_processes, rounds in shares.items():
        rate = spread([share.requests_per_second for share in rounds], digits=0)
        by_cpu = spread([share.requests_per_cpu_second for share in rounds], digits=0)
        load_cores = statistics.median(share.load_cores for share in rounds)
        spreads = " ".join("+".join(map(str, share.connections)) for share in rounds)
        lines.append(f"{num_processes:<15}{rate:>26}{by_cpu:>26}{load_cores:>14.2f}  {spreads}")
    return "\n".join(lines)


def same_bits_line(answers: Answers) -> str:
    by_protocol = ", ".join(f"{count:,} {name}" for name, count in answers.num_requests.items())
    lives = f"{answers.num_restarts} restarts"
    return f"\na row among others, {by_protocol}, {lives}: {answers.num_distinct} distinct answers"


def aliases_line(moves: Moves) -> str:
    return (
        f"\nan alias moved {moves.num_moves:,} times under {moves.num_requests:,} requests: "
        f"{moves.num_failed} failed, {moves.num_unseen} moves were not seen by the next request"
    )
