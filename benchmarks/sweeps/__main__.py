"""Search for hyperparameters with the service, Optuna and Ray Tune, and compare their times.

    python -m benchmarks.sweeps --tables build/bench/tables --peers .venv-sweep-peers

64 trials of a 64-64 network with dropout, up to 64 epochs each, whose learning rate, weight decay
and dropout rates are searched: successive halving by four (`task`). All contestants get the same
training and validation rows of three real tables, as numbers that a network takes as they are
(`rows`), the same initial distribution of weights, AdamW, batches of 32 and two cores. What
differs is how each samples and prunes, as its users do at its defaults:

- `service`: a sweep over HTTP, from the request until the winner's model is stored. The service and
  its dataset are there before. It reads the table, scores, records and checkpoints as always.
- `library`: the same sweep in one process, from the table in memory to the winner's model, with as
  many threads as a job of the service has: set DROPOUT_THREADS_PER_JOB for both.
- `Optuna`: TPE and its SuccessiveHalvingPruner around a loop in torch (`torch_loop`), three ways:
  one trial after the other with two threads, `n_jobs=2` with one thread each, and two processes
  that share a journal. The fastest counts; unless `--contestants` names others, only the processes
  take part, which neither share an interpreter's lock nor cut small products in two.
- `Ray Tune`: ASHA around the same loop, two workers with one thread each, which are reused.

The clock of the others starts when everything is imported, started and in memory (`peers`). The
figure is the time to the same validation loss: the worst of the contestants' best ones on a table
with a seed, which all of them reach. Every seed holds out other rows and draws other trials; the
contestants take turns, in another order each time. Before them `tiny` measures what the service
adds to a trial of a tiny job.
"""

import argparse
import io
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path

import httpx
import torch

from benchmarks.goals import goals_table
from benchmarks.options import option_parser, write_report
from benchmarks.peer_process import Peer, PeerFailed
from benchmarks.run_folder import benchmark_run
from benchmarks.running import running_service
from benchmarks.sweeps import ours
from benchmarks.sweeps.curves import Outcome
from benchmarks.sweeps.ours import Found
from benchmarks.sweeps.report import goals, report
from benchmarks.sweeps.rows import Prepared, prepare
from benchmarks.sweeps.task import BATCH_SIZE
from benchmarks.sweeps.tiny import measure_overhead
from benchmarks.tables.catalogue import Table, read_tables
from store.settings import Settings

TABLES = ("Computers", "fair", "hr")
"""A regression, a table of two classes and one of three, with 6,259 to 7,847 rows."""
PEERS = {
    "Optuna, a loop": "optuna-loop",
    "Optuna, n_jobs=2": "optuna-threads",
    "Optuna, two processes": "optuna-processes",
    "Ray Tune": "ray",
}
CONTESTANTS = ("service", "library", *PEERS)
USUAL = ("service", "library", "Optuna, two processes", "Ray Tune")
SEEDS = 3
TINY_ROUNDS = 5
THREADS = 2
SETTLE_SECONDS = 0.5
"""After this the threads of the last contestant no longer spin."""

Contestant = Callable[[Prepared], Found]


def main() -> None:
    options = _parser().parse_args()
    torch.set_num_threads(Settings().threads_per_job)
    _convert(options.table_peers, options.tables)
    tables = read_tables(options.tables, options.only)
    with ExitStack() as stack:
        client = stack.enter_context(running_service())[1]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        contestants: dict[str, Contestant] = {
            "service": partial(_in_service, client, options.sampler),
            "library": partial(_in_library, options.sampler),
        } | {
            name: partial(_asked, _started(stack, options.peers, name), folder)
            for name in options.contestants
            if name in PEERS
        }
        chosen = {name: contestants[name] for name in options.contestants}
        # This comes first, since the first sweep of a process also imports Optuna.
        overhead = measure_overhead(client, rounds=options.tiny_rounds)
        outcomes = list(_outcomes(chosen, tables, options))
    print(f"\n{report(outcomes)}\n\n{overhead}")
    reached = list(goals(outcomes, overhead))
    print(goals_table(reached))
    found = {"outcomes": [asdict(each) for each in outcomes], "tiny": overhead._asdict()}
    write_report(found | {"goals": [goal.to_dict() for goal in reached]}, options)


def _outcomes(
    contestants: Mapping[str, Contestant], tables: list[Table], options: argparse.Namespace
) -> Iterator[Outcome]:
    """Let the contestants take turns on each table, and print how each has done."""
    for seed in range(options.seeds):
        for place, table in enumerate(tables):
            prepared = prepare(table, seed, batch_size=options.batch_size)
            start = (seed * len(tables) + place) % len(contestants)
            names = [*contestants][start:] + [*contestants][:start]
            for name in names:
                time.sleep(SETTLE_SECONDS)
                try:
                    found = contestants[name](prepared)
                except PeerFailed as error:
                    print(f"{table.name} {seed} {name}: failed: {error}", flush=True)
                    continue
                outcome = Outcome(table.name, seed, name, *found)
                print(
                    f"{table.name} {seed} {name}: {outcome.seconds:.1f} s, "
                    f"{outcome.epochs} epochs, best loss {outcome.best:.4f}",
                    flush=True,
                )
                yield outcome


def _in_service(client: httpx.Client, sampler: str, prepared: Prepared) -> Found:
    file = io.BytesIO()
    prepared.frame.write_parquet(file)
    answer = client.post("/v1/datasets", files={"file": ("rows.parquet", file.getvalue())})
    dataset = answer.raise_for_status().json()["id"]
    return ours.in_service(client, dataset, ours.job(prepared), ours.search(prepared.seed, sampler))


def _in_library(sampler: str, prepared: Prepared) -> Found:
    return ours.in_library(prepared.frame, ours.job(prepared), ours.search(prepared.seed, sampler))


def _asked(peer: Peer, folder: Path, prepared: Prepared) -> Found:
    run = {
        "rows": str(prepared.write_arrays(folder)),
        "batch_size": prepared.batch_size,
        "seed": prepared.seed,
    }
    answer = peer.ask(json.dumps(run))
    return Found(answer["seconds"], len(answer["curve"]), answer["curve"])


def _started(stack: ExitStack, environment: Path, name: str) -> Peer:
    python = environment.absolute() / "bin" / "python"
    if not python.exists():
        raise SystemExit(f"no environment with the peers in {environment}: run make bench-sweeps")
    peer = Peer(python, [PEERS[name]], threads=THREADS, module="benchmarks.sweeps.peers")
    stack.callback(peer.close)
    peer.wait()
    return peer


def _convert(environment: Path, tables: Path) -> None:
    """Make the tables, unless they are there, in the environment that has the packages."""
    if not (tables / "tables.json").exists():
        python = environment.absolute() / "bin" / "python"
        subprocess.run([python, "-m", "benchmarks.tables.sources", tables], check=True)


def _parser() -> argparse.ArgumentParser:
    parser = option_parser(__doc__)
    parser.add_argument("--peers", type=Path, default=Path(".venv-sweep-peers"))
    parser.add_argument("--table-peers", type=Path, default=Path(".venv-table-peers"))
    parser.add_argument("--tables", type=Path, default=Path("build/bench/tables"))
    parser.add_argument("--only", nargs="+", default=TABLES, metavar="TABLE")
    parser.add_argument("--contestants", nargs="+", default=USUAL, choices=CONTESTANTS)
    parser.add_argument("--sampler", default="random", help="of the service and the library")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many")
    parser.add_argument("--tiny-rounds", type=int, default=TINY_ROUNDS, help="how many")
    return parser


if __name__ == "__main__":
    with benchmark_run():
        main()
