"""Measure training speed as ratios, interleaved in one run.

    DROPOUT_DATA_DIR=path/with/fashion-mnist python -m benchmarks.training --json out.json

Every contender trains the same network on the same rows, in turn: see `rounds`.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.contenders import Case, Peers, ours
from benchmarks.goals import Goal, goals_table
from benchmarks.images import load_part
from benchmarks.options import option_parser, write_report
from benchmarks.rounds import Contender, Section, Spread, measure, timed
from benchmarks.run_folder import benchmark_run
from dropout_core.nn.masks import keep_mask
from dropout_core.training.training_data import TrainingData

ROUND_SECONDS = 0.4


CASES = [
    Case((256, 256), 256, 0.0, (0.2, 0.5)),
    Case((256, 256), 100, 0.0, (0.2, 0.5)),
    Case((1024, 1024), 256, 0.2, (0.5, 0.5)),
    Case((1024, 1024), 100, 0.2, (0.5, 0.5)),
    Case((2048, 2048), 256, 0.2, (0.5, 0.5)),
    Case((2048, 2048), 100, 0.2, (0.5, 0.5)),
]


MASKS = {f"mask 256x256, p {p}": p for p in (0.2, 0.5)}
SMALL, LARGE = CASES[0].name, CASES[2].name
SMALL_GOALS = {
    "torch, nn.Dropout": 1.7,
    "torch, no dropout": 1.05,
    "Keras": 2.3,
    "Lightning": 2.3,
    "skorch": 2.3,
    "scikit-learn": 6.0,
    "H2O": 60.0,
}
GOALS = [
    *((name, "mask", "native_dropout", 8.0) for name in MASKS),
    *((SMALL, "library", against, at_least) for against, at_least in SMALL_GOALS.items()),
    (LARGE, "library, batchwise", "torch, nn.Dropout", 2.8),
    (LARGE, "library, batchwise", "dense products", 1.4),
]
"""Section, contender, against whom, and at least how many times as fast."""

AGAINST = {
    "torch, nn.Dropout": "/ nn.Dropout",
    "torch, no dropout": "/ no dropout",
    "dense products": "/ dense products",
}


def load_images(folder: Path | None) -> tuple[str, TrainingData]:
    """Return Fashion-MNIST or MNIST from a folder, or scikit-learn's digits if it has neither."""
    for name in ("fashion-mnist", "mnist"):
        if folder is not None and (folder / name).is_dir():
            return name, TrainingData(*load_part(folder / name, "train"))
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    return "digits", TrainingData(torch.tensor(pixels / 16.0).float(), torch.tensor(labels))


def measure_masks(p: float, *, num_rounds: int, seconds: float) -> Section:
    """Time a 256 x 256 mask and `native_dropout`."""
    x, stream = torch.randn(256, 256), torch.Generator().manual_seed(0)

    def repeat(draw: Callable[[], object]) -> Contender:
        def run(count: int) -> None:
            for _ in range(count):
                draw()  # and free it, as a step does: new memory each time would be slow

        return Contender(timed(run))

    contenders = {
        "mask": repeat(lambda: keep_mask(x, p, generator=stream)),
        "native_dropout": repeat(lambda: torch.native_dropout(x, p, True)),
    }
    return measure(contenders, rows_per_batch=1, num_rounds=num_rounds, seconds=seconds)


def measure_case(
    data: TrainingData, case: Case, peers: Peers, *, num_rounds: int, seconds: float
) -> Section:
    skipped: dict[str, str] = {}
    with peers.of(case, skipped) as others:
        section = measure(
            ours(data, case) | others,
            rows_per_batch=case.batch_size,
            num_rounds=num_rounds,
            seconds=seconds,
        )
    section.skipped |= skipped
    return section


def judge(
    sections: dict[str, Section], title: str, name: str, against: str, at_least: float
) -> Goal:
    """Compare the ratios of two contenders with what they are to be."""
    what = f"{title}: {name} / {against}"
    if title not in sections:
        return Goal(what, "at least", at_least, [], "skipped: its case was not selected")
    section = sections[title]
    if against in section.skipped:
        return Goal(what, "at least", at_least, [], f"skipped: {section.skipped[against]}")
    return Goal(what, "at least", at_least, section.ratios(name, against))


def main(arguments: Sequence[str] | None = None) -> None:
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    source, data = load_images(Path(options.data_dir) if options.data_dir else None)
    report = {
        "data": source,
        "num_rounds": options.rounds,
        "threads": options.threads,
        "num_cores": os.cpu_count(),
        "load_average_before": os.getloadavg()[0],
    }
    how_busy = f"load average before {report['load_average_before']:.1f}"
    print(f"{source}, {options.rounds} rounds, {options.threads} threads, {how_busy}")
    how = {"num_rounds": options.rounds, "seconds": options.seconds}
    sections = {name: measure_masks(p, **how) for name, p in MASKS.items()}
    for name in MASKS:
        print(f"{name}: {_text(sections[name].ratio('mask', 'native_dropout'))} / native_dropout")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        rows = Path(folder) / "rows.npz"
        np.savez(rows, features=data.train_features.numpy(), targets=data.train_targets.numpy())
        peers = Peers(options.peers, rows, threads=options.threads)
        for case in options.cases:
            sections[case.name] = measure_case(data, case, peers, **how)
            print(_table(case.name, sections[case.name]), flush=True)
    goals = [judge(sections, *goal) for goal in GOALS]
    print(goals_table(goals))
    report |= {
        "versions": {"torch": torch.__version__, "peers": peers.versions},
        "sections": {name: _summary(section) for name, section in sections.items()},
        "goals": [goal.to_dict() for goal in goals],
    }
    write_report(report, options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = option_parser(__doc__, png="write a picture of the ratios here")
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("DROPOUT_DATA_DIR"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=ROUND_SECONDS, help="seconds of a turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cases", default="", help="only the cases whose names contain this")
    parser.add_argument("--peers", type=Path, help="virtual environment of peers.txt")
    options = parser.parse_args(arguments)
    options.cases = [case for case in CASES if options.cases in case.name]
    return options


def _summary(section: Section) -> dict[str, Any]:
    """Return, for JSON, the ratio of every contender against every other."""
    names = list(section.rates)
    return {
        "rows_per_second": {name: section.speed(name) for name in names},
        "ratios": {a: {b: section.ratio(a, b) for b in names if b != a} for a in names},
        "skipped": section.skipped,
    }


def _table(title: str, section: Section) -> str:
    headings = [*AGAINST.values(), "library / it"]
    lines = [f"\n{title}", f"{'':20}{'rows/s':>10}" + "".join(f"{h:>22}" for h in headings)]
    for name in section.rates:
        ratios = [section.ratio(name, other) for other in AGAINST]
        ratios.append(section.ratio("library", name))
        cells = "".join(f"{_text(ratio):>22}" for ratio in ratios)
        lines.append(f"{name:20}{section.speed(name)['median']:>10,.0f}{cells}")
    lines += [f"{name:20}{'-':>10}  skipped: {why}" for name, why in section.skipped.items()]
    return "\n".join(lines)


def _text(ratio: Spread) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})"


if __name__ == "__main__":
    with benchmark_run():
        main()
