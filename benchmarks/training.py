"""Training speed as ratios, measured interleaved in one run.

    DROPOUT_DATA_DIR=path/with/fashion-mnist python -m benchmarks.training --json out.json

Every contender trains the same network on the same rows; a round times each of them once, in turn,
and a ratio is taken within a round, so that what else the machine does touches both its sides.
"""

import argparse
import gzip
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dropout_core.config import MLPConfig, SGDConfig, TrainingConfig
from dropout_core.masks import keep_mask
from dropout_core.mlp import MLP
from dropout_core.train import EpochMetrics, TrainingData, train

NUM_CLASSES = 10
ROUND_SECONDS = 0.5
LEARNING_RATE = 0.05

Run = Callable[[int], None]
"""Train so many batches."""


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
]


def library(data: TrainingData, case: Case, kind: str, *, bfloat16: bool = False) -> Run:
    """This library's own loop: an epoch of so many batches."""
    config = MLPConfig.model_validate(
        {
            "hidden": case.hidden,
            "input_dropout": {"kind": kind, "p": case.input_p},
            "hidden_dropout": [{"kind": kind, "p": p} for p in case.hidden_p],
        }
    )
    training_config = TrainingConfig(
        epochs=100_000, batch_size=case.batch_size, optimizer=SGDConfig(lr=LEARNING_RATE)
    )
    num_features = data.train_features.shape[1]
    model = MLP(config, in_features=num_features, out_features=NUM_CLASSES)
    model.use_bfloat16(bfloat16)
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
    """What people write by hand."""

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
    """The bound of a dense step: its matrix products, and nothing else."""
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


def measure(
    contenders: dict[str, Run], *, rows_per_batch: int, num_rounds: int
) -> dict[str, list[float]]:
    """Rows a second of each contender, one figure a round."""
    num_batches = {}
    for name, run in contenders.items():
        run(3)
        started = time.perf_counter()
        run(10)
        seconds = (time.perf_counter() - started) / 10
        num_batches[name] = max(5, round(ROUND_SECONDS / seconds))
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(num_rounds):
        for name, run in contenders.items():
            started = time.perf_counter()
            run(num_batches[name])
            seconds = time.perf_counter() - started
            rates[name].append(num_batches[name] * rows_per_batch / seconds)
    return rates


def ratios(rates: dict[str, list[float]], name: str, against: str) -> dict[str, float]:
    """Median and quartiles of the ratio of two contenders within a round."""
    values = [a / b for a, b in zip(rates[name], rates[against], strict=True)]
    low, middle, high = statistics.quantiles(values, n=4)
    return {"low": low, "median": middle, "high": high}


def load_images(folder: Path | None) -> TrainingData:
    """Fashion-MNIST from a folder, or scikit-learn's digits where there is none."""
    if folder is None:
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        return TrainingData(torch.tensor(pixels / 16.0).float(), torch.tensor(labels))
    images = _read_idx(folder / "fashion-mnist" / "train-images-idx3-ubyte.gz")
    labels = _read_idx(folder / "fashion-mnist" / "train-labels-idx1-ubyte.gz")
    return TrainingData(
        torch.from_numpy(images.reshape(len(images), -1) / np.float32(255)),
        torch.from_numpy(labels.astype(np.int64)),
    )


def _read_idx(path: Path) -> Any:
    content = gzip.decompress(path.read_bytes())
    num_dimensions = content[3]
    shape = np.frombuffer(content, ">u4", count=num_dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * num_dimensions).reshape(shape)


def measure_masks(num_rounds: int) -> dict[str, float]:
    """A 256 x 256 mask against `native_dropout`."""
    x, stream = torch.randn(256, 256), torch.Generator().manual_seed(0)

    def repeat(draw: Callable[[], object]) -> Run:
        return lambda count: [draw() for _ in range(count)] and None

    contenders = {
        "mask": repeat(lambda: keep_mask(x, 0.2, generator=stream)),
        "native_dropout": repeat(lambda: torch.native_dropout(x, 0.2, True)),
    }
    rates = measure(contenders, rows_per_batch=1, num_rounds=num_rounds)
    return ratios(rates, "mask", "native_dropout")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("DROPOUT_DATA_DIR"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    folder = Path(options.data_dir) if options.data_dir else None
    data = load_images(folder)
    report: dict[str, Any] = {"mask 256x256 / native_dropout": measure_masks(options.rounds)}
    print(f"mask 256x256 against native_dropout: {_text(report['mask 256x256 / native_dropout'])}")
    for case in CASES:
        contenders = {
            "library": library(data, case, "bernoulli"),
            "library, batchwise": library(data, case, "batchwise"),
            "library, bfloat16": library(data, case, "bernoulli", bfloat16=True),
            "torch, nn.Dropout": torch_loop(data, case, dropout=True),
            "torch, no dropout": torch_loop(data, case, dropout=False),
            "dense products": dense_products(data, case),
        }
        rates = measure(contenders, rows_per_batch=case.batch_size, num_rounds=options.rounds)
        print(f"\n{case.name}")
        others = ("torch, nn.Dropout", "torch, no dropout", "dense products")
        print(f"{'':22}{'rows/s':>10}" + "".join(f"{'against ' + o:>30}" for o in others))
        report[case.name] = {"rows_per_second": {n: statistics.median(r) for n, r in rates.items()}}
        for name in contenders:
            against = {other: ratios(rates, name, other) for other in others}
            report[case.name][name] = against
            cells = "".join(f"{_text(against[other]):>30}" for other in others)
            print(f"{name:22}{statistics.median(rates[name]):>10,.0f}{cells}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=2))


def _text(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})"


if __name__ == "__main__":
    main()
