"""The contenders of the training benchmark: this library, torch by hand, other libraries."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.peer_process import Peer, PeerFailed
from benchmarks.peers import NUM_CLASSES
from benchmarks.rounds import Contender, Run, timed
from benchmarks.running import cpu_seconds
from dropout_core.config import MLPConfig, SGDConfig, TrainingConfig
from dropout_core.nn.mlp import MLP
from dropout_core.training.loop import train
from dropout_core.training.state import EpochMetrics
from dropout_core.training.training_data import TrainingData

LEARNING_RATE = 0.05
SETTLE_SECONDS = 5.0

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
    return {name: Contender(timed(run)) for name, run in runs.items()}


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
        used = cpu_seconds(peer.pid)
        while time.monotonic() < deadline:
            time.sleep(0.1)
            before, used = used, cpu_seconds(peer.pid)
            if used - before < 0.015:
                break
        return seconds

    return train
