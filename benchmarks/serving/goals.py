"""The goals, and whether they were met."""

import numpy as np

from benchmarks.goals import Goal
from benchmarks.serving.aliases import Moves
from benchmarks.serving.processes import Share
from benchmarks.serving.same_bits import Answers
from benchmarks.serving.throughput import Results

OURS = "ours, JSON"
BINARY = ("ours, V2 binary FP32", "ours, V2 binary FP64")
RATIOS = {
    1: {"MLServer": 4.0, "FastAPI": 6.0, "LitServe": 6.0, "BentoML": 10.0},
    64: {"MLServer": 2.0, "FastAPI": 10.0, "LitServe": 10.0, "BentoML": 10.0},
}
BINARY_RATIO = 4.0
TWO_PROCESSES_RATIO = 1.8
TAIL_RATIO = 3.0


def of_throughput(results: Results) -> list[Goal]:
    """Return goals for ratios within a round, in which other load affected both sides."""
    goals = [
        Goal(
            f"{num_rows} JSON row{'s' * (num_rows > 1)}: ours / {peer}",
            "at least",
            bound,
            ratios(results, num_rows, OURS, peer),
        )
        for num_rows, bounds in RATIOS.items()
        for peer, bound in bounds.items()
    ]
    for name in BINARY:
        values = ratios(results, 64, name, "MLServer")
        goals.append(Goal(f"64 rows: {name} / JSON of MLServer", "at least", BINARY_RATIO, values))
    return goals


def ratios(results: Results, num_rows: int, name: str, against: str) -> list[float]:
    """Return ratios of requests a second by round; none if either was not measured."""
    measured = results.measured.get(num_rows, {})
    pairs = zip(measured.get(name, []), measured.get(against, []), strict=False)
    return [ours.requests_per_second / other.requests_per_second for ours, other in pairs]


def of_latency(results: Results) -> list[Goal]:
    rounds = results.latencies.get(OURS, [])
    tails = [float(np.quantile(taken, 0.99) / np.median(taken)) for taken in rounds]
    return [Goal("1 row at half the maximum rate: p99 / median", "under", TAIL_RATIO, tails)]


def of_processes(shares: dict[int, list[Share]]) -> list[Goal]:
    pairs = list(zip(shares.get(1, []), shares.get(2, []), strict=True))
    raw = [two.requests_per_second / one.requests_per_second for one, two in pairs]
    by_cpu = [2 * two.requests_per_cpu_second / one.requests_per_cpu_second for one, two in pairs]
    what = "two processes on two cores / one on one"
    return [
        Goal(what, "at least", TWO_PROCESSES_RATIO, raw),
        Goal(f"{what}, by CPU time", "at least", TWO_PROCESSES_RATIO, by_cpu),
    ]


def of_same_bits(answers: Answers | None) -> list[Goal]:
    values = [] if answers is None else [float(answers.num_distinct)]
    return [Goal("distinct answers for one row", "exactly", 1, values)]


def of_aliases(moves: Moves | None) -> list[Goal]:
    values = [] if moves is None else [float(moves.num_failed + moves.num_unseen)]
    return [Goal("failed requests while an alias moves", "exactly", 0, values)]
