"""Compare the presets with other libraries' models on real tables, all at their defaults.

    python -m benchmarks.tables --peers .venv-table-peers

Every seed holds out other rows and draws other weights; all contestants of a seed get the same
rows. Outcomes are kept in a file as they come (`outcomes`), so a run that was stopped goes on where
it was; remove the file to measure anew. The report is Markdown.
"""

import argparse
import os
import subprocess
from pathlib import Path

import torch

from benchmarks.options import option_parser, write_report
from benchmarks.run_folder import benchmark_run
from benchmarks.tables import service
from benchmarks.tables.catalogue import TIMED, Table, read_tables
from benchmarks.tables.figures import Results
from benchmarks.tables.outcomes import read_outcomes, run
from benchmarks.tables.report import report

FOLDER = Path("build/bench")
SEEDS = 5
TIMED_SEEDS = 2
THREADS = 2


def main() -> None:
    options = _parser().parse_args()
    python = options.peers.absolute() / "bin" / "python"
    if not options.report:
        _peers(python, "sources", options.tables)
    tables = read_tables(options.tables, options.only)
    timed = read_tables(options.tables, [TIMED])
    if not options.report:
        _measure(python, tables, range(options.seeds), options)
        if not options.only:
            _measure(python, timed, range(TIMED_SEEDS), options)
    outcomes = read_outcomes(options.outcomes)
    if options.contestants:
        outcomes = [each for each in outcomes if each.contestant in options.contestants]
    print(report(Results(outcomes, tables), Results(outcomes, timed)))
    write_report([vars(outcome) for outcome in outcomes], options)


def _measure(python: Path, tables: list[Table], seeds: range, options: argparse.Namespace) -> None:
    """Append the outcomes that are not there yet."""
    torch.set_num_threads(THREADS)
    ours, named = service.contestants(), options.contestants or ()
    chosen = {name: each for name, each in ours.items() if not named or name in named}
    run(chosen, tables, seeds, options.outcomes, threads=THREADS)
    others = [name for name in named if name not in ours]
    if named and not others:
        return
    _peers(
        python,
        "peers",
        *(options.tables, options.outcomes),
        *("--threads", THREADS, "--seeds", *seeds, "--only", *(table.name for table in tables)),
        *(("--contestants", *others) if others else ()),
    )


def _peers(python: Path, module: str, *arguments: object) -> None:
    """Run a module in the peers' environment."""
    if not python.exists():
        raise SystemExit(
            f"no environment with the peers in {python.parents[1]}: run make bench-tables"
        )
    pools = {f"{pool}_NUM_THREADS": str(THREADS) for pool in ("OMP", "OPENBLAS", "MKL")}
    command = [str(python), "-m", f"benchmarks.tables.{module}", *map(str, arguments)]
    subprocess.run(command, check=True, env=os.environ | pools)


def _parser() -> argparse.ArgumentParser:
    parser = option_parser(__doc__)
    parser.add_argument("--peers", type=Path, default=Path(".venv-table-peers"))
    parser.add_argument("--tables", type=Path, default=FOLDER / "tables", help="a folder for them")
    parser.add_argument("--outcomes", type=Path, default=FOLDER / "tables.jsonl")
    parser.add_argument("--only", nargs="+", default=[], metavar="TABLE")
    parser.add_argument("--contestants", nargs="+", metavar="NAME")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many")
    parser.add_argument("--report", action="store_true", help="only report what was measured")
    return parser


if __name__ == "__main__":
    with benchmark_run():
        main()
