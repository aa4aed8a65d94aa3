"""Measure how much faster networks train as a stack than one after the other, in one run.

    python -m benchmarks.stacks --json out.json

Sixteen networks of one shape differ in dropout, learning rate and seed. A round trains the same
number of batches of each as a stack, one after the other, and computes only the matrix products.
"""

import argparse
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.goals import Goal, goals_table, spread
from benchmarks.options import option_parser, write_report
from benchmarks.rounds import Contender, Run, Section, measure, timed
from benchmarks.run_folder import benchmark_run
from dropout_core.config import AdamConfig, MLPConfig, TrainingConfig
from dropout_core.nn.mlp import MLP
from dropout_core.training.loop import Training
from dropout_core.training.stack import Stack
from dropout_core.training.training_data import TrainingData

NUM_NETWORKS = 16
RATES = (0.1, 0.2, 0.3, 0.5)

STACK, ALONE, PRODUCTS = "stack", "one after the other", "products of the stack"


@dataclass(frozen=True)
class Case:
    """The widths of a network, its batch, and how many times as fast a stack is to be."""

    widths: tuple[int, ...]
    batch_size: int
    at_least: float

    @property
    def name(self) -> str:
        return f"{NUM_NETWORKS} of {'-'.join(map(str, self.widths))}, batch {self.batch_size}"


CASES = [
    Case((32, 64, 64, 2), 32, 6.0),
    Case((64, 256, 256, 10), 128, 2.5),
    Case((784, 256, 256, 10), 256, 1.2),
]


def trainings(case: Case, num_batches: int, *, stacked: bool) -> list[Training]:
    """Return untrained networks whose epoch has that many batches."""
    stream = torch.Generator().manual_seed(0)
    inputs, *hidden, outputs = case.widths
    rows = num_batches * case.batch_size
    data = TrainingData(
        torch.randn(rows, inputs, generator=stream),
        torch.randint(0, outputs, (rows,), generator=stream),
    )
    return [
        Training(
            MLP(
                MLPConfig(hidden=hidden, hidden_dropout=RATES[number % len(RATES)]),
                in_features=inputs,
                out_features=outputs,
                seed=number,
            ),
            data,
            TrainingConfig(
                epochs=100_000,
                batch_size=case.batch_size,
                optimizer=AdamConfig(lr=1e-4 * (number + 1)),
                stacked=stacked,
                seed=number,
            ),
            task="multiclass",
        )
        for number in range(NUM_NETWORKS)
    ]


def epochs(start: Callable[[int], Sequence[Iterator[Any]]], items: int) -> Run:
    """Return a run of one epoch of the iterators for a number of batches, each of `items`."""
    started: dict[int, Sequence[Iterator[Any]]] = {}

    def run(num_batches: int) -> None:
        if num_batches not in started:
            started[num_batches] = start(num_batches)
        for iterator in started[num_batches]:
            for _ in range(items):
                next(iterator)

    return run


def products(case: Case) -> Run:
    """Return a run of only the matrix products of the stack's steps, the bound of its speed."""
    pairs = list(itertools.pairwise(case.widths))
    inputs = [torch.randn(NUM_NETWORKS, case.batch_size, fan_in) for fan_in, _ in pairs]
    weights = [torch.randn(NUM_NETWORKS, fan_out, fan_in) for fan_in, fan_out in pairs]
    grads = [torch.randn(NUM_NETWORKS, case.batch_size, fan_out) for _, fan_out in pairs]

    def run(num_batches: int) -> None:
        for _ in range(num_batches):
            for x, weight in zip(inputs, weights, strict=True):
                x.bmm(weight.mT)
            for index in reversed(range(len(weights))):
                grads[index].mT.bmm(inputs[index])
                if index:  # the data needs no gradient
                    grads[index].bmm(weights[index])

    return run


def contenders(case: Case) -> dict[str, Contender]:
    runs = {
        STACK: epochs(lambda n: [iter(Stack(trainings(case, n, stacked=True)))], NUM_NETWORKS),
        ALONE: epochs(lambda n: [iter(run) for run in trainings(case, n, stacked=False)], 1),
        PRODUCTS: products(case),
    }
    return {name: Contender(timed(run)) for name, run in runs.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads, load average before {os.getloadavg()[0]:.1f}")
    sections: dict[str, Section] = {}
    goals = []
    for case in options.cases:
        section = sections[case.name] = measure(
            contenders(case),
            rows_per_batch=case.batch_size * NUM_NETWORKS,
            num_rounds=options.rounds,
            seconds=options.seconds,
        )
        share = section.ratios(STACK, PRODUCTS)
        print(
            f"{case.name}: {section.speed(STACK)['median']:,.0f} rows/s, "
            f"products are {spread(share)} of the time",
            flush=True,
        )
        goals.append(
            Goal(
                f"{case.name}: {STACK} / {ALONE}",
                "at least",
                case.at_least,
                section.ratios(STACK, ALONE),
            )
        )
    print(goals_table(goals))
    report = {
        "threads": options.threads,
        "rows_per_second": {
            title: {name: section.speed(name) for name in section.rates}
            for title, section in sections.items()
        },
        "goals": [goal.to_dict() for goal in goals],
    }
    write_report(report, options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.4, help="seconds of a turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cases", default="", help="only the cases whose names contain this")
    options = parser.parse_args(arguments)
    options.cases = [case for case in CASES if options.cases in case.name]
    return options


if __name__ == "__main__":
    with benchmark_run():
        main()
