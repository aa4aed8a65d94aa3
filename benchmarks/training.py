"""Measure training speed as ratios, interleaved in one run.

    DROPOUT_DATA_DIR=path/with/fashion-mnist python -m benchmarks.training --json out.json

Every contender trains the same network on the same rows. A round times each of them once, in turn,
and a ratio is taken within a round, so that other load on the machine affects both its sides.
"""

import argparse
import contextlib
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.images import load_part
from benchmarks.peers import Peer, PeerFailed
from benchmarks.run_folder import benchmark_run
from dropout_core.config import MLPConfig, SGDConfig, TrainingConfig
from dropout_core.nn.masks import keep_mask
from dropout_core.nn.mlp import MLP
from dropout_core.training.loop import EpochMetrics, TrainingData, train

NUM_CLASSES = 10
ROUND_SECONDS = 0.4
LEARNING_RATE = 0.05
SETTLE_SECONDS = 5.0

Run = Callable[[int], None]
"""Train this number of batches."""

Spread = dict[str, float]
"""Median and quartiles."""


@dataclass(frozen=True)
class Case:
    """A network and its batch: one table of the report."""

    hidden: tuple[int, ...]
    batch_size: int
    input_p: float
    hidden_p: tuple[float, ...]

    @property
    def name(self) -> str:
        widths = "-".join(map(str, (*self.hidden, NUM_CLASSES)))
        rates = "/".join(f"{p:g}" for p in (self.input_p, *self.hidden_p) if p)
        return f"{widths}, p {rates}, batch {self.batch_size}"


CASES = [
    Case((256, 256), 256, 0.0, (0.2, 0.5)),
    Case((256, 256), 100, 0.0, (0.2, 0.5)),
    Case((1024, 1024), 256, 0.2, (0.5, 0.5)),
    Case((1024, 1024), 100, 0.2, (0.5, 0.5)),
    Case((2048, 2048), 256, 0.2, (0.5, 0.5)),
    Case((2048, 2048), 100, 0.2, (0.5, 0.5)),
]


@dataclass(frozen=True)
class Contender:
    """`train` trains a number of batches and returns the seconds that they took.

    Its turn takes `turns` times as long as another's and comes every `every`-th round.
    """

    train: Callable[[int], float]
    turns: float = 1.0
    every: int = 1


@dataclass
class Section:
    """The results of one case: rows a second by contender and round, and why some were skipped."""

    rates: dict[str, dict[int, float]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def speed(self, name: str) -> Spread:
        return _spread(list(self.rates[name].values()))

    def ratio(self, name: str, against: str) -> Spread:
        """Return the ratio of two contenders within the rounds in which both took part."""
        ours, theirs = self.rates[name], self.rates[against]
        return _spread([ours[number] / theirs[number] for number in ours if number in theirs])


@dataclass(frozen=True)
class Goal:
    section: str
    name: str
    against: str
    at_least: float


MASKS = {f"mask 256x256, p {p}": p for p in (0.2, 0.5)}
SMALL, LARGE = CASES[0].name, CASES[2].name
GOALS = [
    *(Goal(name, "mask", "native_dropout", 8.0) for name in MASKS),
    Goal(SMALL, "library", "torch, nn.Dropout", 1.7),
    Goal(SMALL, "library", "torch, no dropout", 1.05),
    Goal(SMALL, "library", "Keras", 2.3),
    Goal(SMALL, "library", "Lightning", 2.3),
    Goal(SMALL, "library", "skorch", 2.3),
    Goal(SMALL, "library", "scikit-learn", 6.0),
    Goal(SMALL, "library", "H2O", 60.0),
    Goal(LARGE, "library, batchwise", "torch, nn.Dropout", 2.8),
    Goal(LARGE, "library, batchwise", "dense products", 1.4),
]

# The first example of a peer's documentation, and the peer tuned by somebody who knows it well.
PEERS = {
    "Keras": ["keras"],
    "Keras, tuned": ["keras", "--tuned"],
    "Lightning": ["lightning"],
    "Lightning, tuned": ["lightning", "--tuned"],
    "skorch": ["skorch"],
    "skorch, tuned": ["skorch", "--tuned"],
    "scikit-learn": ["scikit-learn"],
    "H2O": ["h2o"],
}
# H2O is at full speed after a second or two, and a turn takes it as long again.
TURNS = {"H2O": 3.0}
EVERY = {"H2O": 3}

AGAINST = {
    "torch, nn.Dropout": "/ nn.Dropout",
    "torch, no dropout": "/ no dropout",
    "dense products": "/ dense products",
}


def library(
    data: TrainingData,
    case: Case,
    kind: str,
    *,
    precision: Literal["float32", "bfloat16"] = "float32",
) -> Run:
    """Return a run of this library's own loop: an epoch of `num_batches` batches."""
    config = MLPConfig.model_validate(
        {
            "hidden": case.hidden,
            "input_dropout": {"kind": kind, "p": case.input_p},
            "hidden_dropout": [{"kind": kind, "p": p} for p in case.hidden_p],
        }
    )
    training_config = TrainingConfig(
        epochs=100_000,
        batch_size=case.batch_size,
        optimizer=SGDConfig(lr=LEARNING_RATE),
        precision=precision,
    )
    num_features = data.train_features.shape[1]
    model = MLP(config, in_features=num_features, out_features=NUM_CLASSES)
    epochs: dict[int, Iterator[EpochMetrics]] = {}

    def run(num_batches: int) -> None:
        if num_batches not in epochs:
            num_rows = num_batches * case.batch_size
            repeats = -(-num_rows // len(data.train_targets))
            rows = torch.arange(len(data.train_targets)).repeat(repeats)[:num_rows]
            part = TrainingData(data.train_features[rows], data.train_targets[rows])
            epochs[num_batches] = iter(train(model, part, training_config, task="multiclass"))
        next(epochs[num_batches])

    return run


def torch_loop(data: TrainingData, case: Case, *, dropout: bool) -> Run:
    """Return a run of the usual loop in torch, written by hand."""

    def drop(p: float) -> list[nn.Module]:
        return [nn.Dropout(p)] if dropout and p else []

    width, layers = data.train_features.shape[1], drop(case.input_p)
    for num_units, p in zip(case.hidden, case.hidden_p, strict=True):
        layers += [nn.Linear(width, num_units), nn.ReLU(), *drop(p)]
        width = num_units
    model = nn.Sequential(*layers, nn.Linear(width, NUM_CLASSES))
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)

    def run(num_batches: int) -> None:
        for rows in _shuffled_batches(len(data.train_targets), case.batch_size, num_batches):
            optimizer.zero_grad()
            outputs = model(data.train_features[rows])
            F.cross_entropy(outputs, data.train_targets[rows]).backward()
            optimizer.step()

    return run


def dense_products(data: TrainingData, case: Case) -> Run:
    """Return a run of only the matrix products of a dense step, the bound of its speed."""
    widths = (data.train_features.shape[1], *case.hidden, NUM_CLASSES)
    pairs = list(itertools.pairwise(widths))
    inputs = [torch.randn(case.batch_size, fan_in) for fan_in, _ in pairs]
    weights = [torch.randn(fan_out, fan_in) for fan_in, fan_out in pairs]
    grads = [torch.randn(case.batch_size, fan_out) for _, fan_out in pairs]

    def run(num_batches: int) -> None:
        for _ in range(num_batches):
            for x, weight in zip(inputs, weights, strict=True):
                x.mm(weight.t())
            for index in reversed(range(len(weights))):
                grads[index].t().mm(inputs[index])
                if index:  # the data needs no gradient
                    grads[index].mm(weights[index])

    return run


def _shuffled_batches(num_rows: int, batch_size: int, num_batches: int) -> list[Tensor]:
    order = torch.randperm(num_rows)[: num_rows // batch_size * batch_size]
    batches = list(torch.split(order, batch_size))
    return [batches[index % len(batches)] for index in range(num_batches)]


def ours(data: TrainingData, case: Case) -> dict[str, Contender]:
    """Return the contenders that run in this process."""
    runs = {
        "library": library(data, case, "bernoulli"),
        "library, batchwise": library(data, case, "batchwise"),
        "library, bfloat16": library(data, case, "bernoulli", precision="bfloat16"),
        "torch, nn.Dropout": torch_loop(data, case, dropout=True),
        "torch, no dropout": torch_loop(data, case, dropout=False),
        "dense products": dense_products(data, case),
    }
    return {name: Contender(_timed(run)) for name, run in runs.items()}


def _timed(run: Run) -> Callable[[int], float]:
    def train(num_batches: int) -> float:
        started = time.perf_counter()
        run(num_batches)
        return time.perf_counter() - started

    return train


class Peers:
    """Other libraries, in their own environment, with new processes for each case."""

    def __init__(self, environment: Path | None, rows: Path, *, threads: int) -> None:
        self._python = None if environment is None else environment.absolute() / "bin" / "python"
        self._rows = rows
        self._threads = threads
        self.versions: dict[str, str] = {}

    @contextlib.contextmanager
    def of(self, case: Case, skipped: dict[str, str]) -> Iterator[dict[str, Contender]]:
        """Yield the peers that are ready to train; `skipped` gets the reasons of the others."""
        if self._python is None or not self._python.exists():
            skipped |= dict.fromkeys(PEERS, "no environment with the peers: run `make bench-peers`")
            yield {}
            return
        with contextlib.ExitStack() as stack:
            peers = {}
            for name in PEERS:
                peers[name] = self._start(self._python, name, case)
                stack.callback(peers[name].close)
            yield self._ready(peers, skipped)

    def _start(self, python: Path, name: str, case: Case) -> Peer:
        arguments: dict[str, Sequence[object]] = {
            "rows": [self._rows],
            "hidden": case.hidden,
            "hidden-p": case.hidden_p,
            "input-p": [case.input_p],
            "batch-size": [case.batch_size],
            "learning-rate": [LEARNING_RATE],
        }
        words = [str(w) for name, values in arguments.items() for w in (f"--{name}", *values)]
        return Peer(python, [*PEERS[name], *words], threads=self._threads)

    def _ready(self, peers: dict[str, Peer], skipped: dict[str, str]) -> dict[str, Contender]:
        ready = {}
        for name, peer in peers.items():
            try:
                self.versions |= peer.wait()
            except PeerFailed as error:
                skipped[name] = str(error)
            else:
                ready[name] = Contender(_settling(peer), TURNS.get(name, 1.0), EVERY.get(name, 1))
        return ready


def _settling(peer: Peer) -> Callable[[int], float]:
    """Return a turn that ends when the peer is idle. After its answer, threads may spin for a
    tenth of a second, and a JVM compiles and collects for half a second, which would slow the next
    contender.
    """

    def train(num_batches: int) -> float:
        seconds = peer.train(num_batches)
        deadline = time.monotonic() + SETTLE_SECONDS
        used = _cpu_seconds(peer.pid)
        while time.monotonic() < deadline:
            time.sleep(0.1)
            before, used = used, _cpu_seconds(peer.pid)
            if used - before < 0.015:
                break
        return seconds

    return train


def _cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of the process and its children; 0 if it has ended."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return sum(sum(each.cpu_times()[:2]) for each in family)
    except psutil.NoSuchProcess:
        return 0.0


def measure(
    contenders: dict[str, Contender], *, rows_per_batch: int, num_rounds: int, seconds: float
) -> Section:
    """Time each contender in turn, round by round, for about `seconds` a turn."""
    section = Section()
    num_batches: dict[str, int] = {}

    def take_turn(name: str, number: int) -> None:
        contender = contenders[name]
        try:
            if name not in num_batches:
                num_batches[name] = _batches_a_turn(contender, seconds * contender.turns)
            taken = contender.train(num_batches[name])
        except PeerFailed as error:
            section.rates.pop(name, None)
            section.skipped[name] = str(error)
        else:
            rate = num_batches[name] * rows_per_batch / taken
            section.rates.setdefault(name, {})[number] = rate

    for number in range(-1, num_rounds):  # the first round warms up
        for name, contender in contenders.items():
            if name not in section.skipped and (number < 0 or number % contender.every == 0):
                take_turn(name, number)
    for rates in section.rates.values():
        del rates[-1]
    return section


def _batches_a_turn(contender: Contender, seconds: float) -> int:
    """Return how many batches take about `seconds`, if the fixed cost of a turn is small."""
    num_batches = 3
    contender.train(num_batches)
    while (taken := contender.train(num_batches)) < seconds / 3:
        num_batches = min(10 * num_batches, int(num_batches * seconds / taken) + 1)
    return max(1, round(num_batches * seconds / taken))


def _spread(values: list[float]) -> Spread:
    low, middle, high = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    )
    return {"low": low, "median": middle, "high": high}


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

        return Contender(_timed(run))

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


def judge(goal: Goal, sections: dict[str, Section]) -> dict[str, Any]:
    """Return the goal, the measured ratio and the verdict."""
    stated = {"what": f"{goal.section}: {goal.name} / {goal.against}", "at_least": goal.at_least}
    section = sections.get(goal.section)
    reason = "its case was not selected" if section is None else section.skipped.get(goal.against)
    if section is None or reason is not None:
        return stated | {"ratio": None, "verdict": f"skipped: {reason}"}
    ratio = section.ratio(goal.name, goal.against)
    verdict = "met" if ratio["median"] >= goal.at_least else "missed"
    return stated | {"ratio": ratio, "verdict": verdict}


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
    goals = [judge(goal, sections) for goal in GOALS]
    print(_goals_table(goals))
    report |= {
        "versions": {"torch": torch.__version__, "peers": peers.versions},
        "sections": {name: _summary(section) for name, section in sections.items()},
        "goals": goals,
    }
    _write(report, options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("DROPOUT_DATA_DIR"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=ROUND_SECONDS, help="seconds of a turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cases", default="", help="only the cases whose names contain this")
    parser.add_argument("--peers", type=Path, help="virtual environment of peers.txt")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--png", type=Path)
    options = parser.parse_args(arguments)
    options.cases = [case for case in CASES if options.cases in case.name]
    return options


def _write(report: dict[str, Any], options: argparse.Namespace) -> None:
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
        print(f"\n{options.json}")
    if options.png:
        from benchmarks.plot import draw

        draw(report, options.png)
        print(options.png)


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


def _goals_table(goals: list[dict[str, Any]]) -> str:
    width = max(len(goal["what"]) for goal in goals)
    lines = [f"\n{'goals':{width}}{'at least':>10}{'measured':>22}"]
    for goal in goals:
        ratio = "-" if goal["ratio"] is None else _text(goal["ratio"])
        lines.append(f"{goal['what']:{width}}{goal['at_least']:>10g}{ratio:>22}  {goal['verdict']}")
    return "\n".join(lines)


def _text(ratio: Spread) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})"


if __name__ == "__main__":
    with benchmark_run():
        main()
