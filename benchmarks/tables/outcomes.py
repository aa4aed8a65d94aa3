"""Run contestants on tables, and keep the outcomes in a file of JSON lines.

A run that starts again leaves out what the file has, so a long run may be stopped at any time. The
processes of two environments append to the same file.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from benchmarks.tables.catalogue import Table
from benchmarks.tables.measures import Forecast, measure

Predict = Callable[[pl.DataFrame], Forecast]
"""Predict rows, whose target it does not look at."""

Contestant = Callable[[Table, pl.DataFrame, int], Predict]
"""Fit a table's training rows by a seed."""


@dataclass(frozen=True)
class Outcome:
    """What a contestant has reached on a table's held-out rows, and the `seconds` to fit.

    `measures` is empty if the contestant failed; `error` says why.
    """

    table: str
    seed: int
    contestant: str
    measures: Mapping[str, float]
    seconds: float
    threads: int
    error: str | None = None

    @property
    def key(self) -> tuple[str, int, str]:
        return self.table, self.seed, self.contestant


def read_outcomes(path: Path) -> list[Outcome]:
    """Return the outcomes of the file; the last one counts where a run is there twice."""
    lines = path.read_text().splitlines() if path.exists() else []
    outcomes = (Outcome(**json.loads(line)) for line in lines)
    return list({outcome.key: outcome for outcome in outcomes}.values())


def run(
    contestants: Mapping[str, Contestant],
    tables: Iterable[Table],
    seeds: Iterable[int],
    path: Path,
    *,
    threads: int,
) -> None:
    """Append the outcomes that the file lacks, and print each; `threads` is what they used."""
    done = {outcome.key for outcome in read_outcomes(path)}
    path.parent.mkdir(parents=True, exist_ok=True)
    runs = [(name, seed, table) for name in contestants for seed in seeds for table in tables]
    for name, seed, table in runs:
        if (table.name, seed, name) in done:
            continue
        outcome = _outcome(contestants[name], name, table, seed, threads)
        with path.open("a") as file:
            file.write(json.dumps(asdict(outcome)) + "\n")
        reached = outcome.error or " ".join(f"{k} {v:.4g}" for k, v in outcome.measures.items())
        print(f"{table.name} {seed} {name}: {reached}, {outcome.seconds:.1f} s", flush=True)


def _outcome(fit: Contestant, name: str, table: Table, seed: int, threads: int) -> Outcome:
    train, test = table.split(seed)
    error, measures = None, {}
    started = time.perf_counter()
    try:
        predict = fit(table, train, seed)
        seconds = time.perf_counter() - started
        measures = measure(predict(test), test[table.target].to_numpy(), table)
    except Exception as failure:
        seconds = time.perf_counter() - started
        error = " ".join(f"{type(failure).__name__}: {failure}".split())[:200]
    return Outcome(table.name, seed, name, measures, seconds, threads, error)
