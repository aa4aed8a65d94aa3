"""Measure the test error on MNIST of batchwise and standard dropout, over five seeds.

    DROPOUT_DATA_DIR=path/with/mnist python -m benchmarks.accuracy --json out.json

The network is 784-1024-1024-10 with dropout .2/.5/.5. For each dropout, the learning rate is chosen
on 10,000 held-out rows. Then it trains on all 60,000 rows with every seed; the test rows are used
once a run, at its end. With equal wall time, standard dropout trains as many epochs as fit into the
time of batchwise dropout, at the speeds measured in these runs, which run side by side.

With batchwise dropout, the rows of a whole batch share a mask: smaller batches see more masks an
epoch, and larger ones train faster.
"""

import math
import os
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import torch

from benchmarks.images import load_part
from benchmarks.options import option_parser, write_report
from benchmarks.run_folder import benchmark_run
from dropout_core.config import MLPConfig, TrainingConfig
from dropout_core.nn.mlp import MLP
from dropout_core.training.loop import Diverged, train
from dropout_core.training.training_data import TrainingData
from dropout_core.training.validation import validation_score

NUM_HELD_OUT = 10_000
RATES = {"standard": (0.3, 0.5, 1.0), "batchwise": (0.1, 0.15, 0.2)}
DROPOUTS = {"standard": {"kind": "bernoulli"}, "batchwise": {"kind": "batchwise"}}
BATCH_SIZES = {"standard": 100, "batchwise": 50}


@dataclass(frozen=True)
class Run:
    """A network to train, and the rows on which its error is measured."""

    folder: Path
    dropout: str
    rate: float
    num_epochs: int
    seed: int
    on_test_rows: bool = True


@dataclass(frozen=True)
class Result:
    """Error in percent, and rows trained a second, the median over the epochs."""

    error: float
    rows_per_second: float


def train_once(run: Run) -> Result:
    """Train to the end with one thread."""
    torch.set_num_threads(1)
    data = _data(run.folder, run.on_test_rows)
    kind = DROPOUTS[run.dropout]
    model = MLP(
        MLPConfig.model_validate(
            {
                "hidden": [1024, 1024],
                "input_dropout": {**kind, "p": 0.2},
                "hidden_dropout": {**kind, "p": 0.5},
            }
        ),
        in_features=784,
        out_features=10,
        seed=run.seed,
    )
    config = TrainingConfig.model_validate(
        {
            "epochs": run.num_epochs,
            "batch_size": BATCH_SIZES[run.dropout],
            "optimizer": {"name": "sgd", "lr": run.rate},
            "scheduler": {"name": "cosine"},
            "seed": run.seed,
        }
    )
    rows = TrainingData(data.train_features, data.train_targets)
    try:
        epochs = list(train(model, rows, config, task="multiclass"))
    except Diverged:
        return Result(100.0, 0.0)
    assert data.validation_features is not None
    assert data.validation_targets is not None
    with torch.inference_mode():
        outputs = model.eval()(data.validation_features)
    accuracy = validation_score(outputs, data.validation_targets, task="multiclass")
    return Result(100 * (1 - accuracy), statistics.median(e.samples_per_second for e in epochs))


@cache
def _data(folder: Path, on_test_rows: bool) -> TrainingData:
    features, targets = load_part(folder, "train")
    if on_test_rows:
        return TrainingData(features, targets, *load_part(folder, "t10k"))
    return TrainingData(
        features[:-NUM_HELD_OUT],
        targets[:-NUM_HELD_OUT],
        features[-NUM_HELD_OUT:],
        targets[-NUM_HELD_OUT:],
    )


def train_all(pool: ProcessPoolExecutor, runs: Sequence[Run]) -> dict[str, list[Result]]:
    """Train a few at a time; return the results by dropout."""
    results: dict[str, list[Result]] = {}
    for run, result in zip(runs, pool.map(train_once, runs), strict=True):
        results.setdefault(run.dropout, []).append(result)
        print(f"{run.dropout:10} rate {run.rate:<5g} seed {run.seed:<5} error {result.error:.2f} %")
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("DROPOUT_DATA_DIR"))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, a thread each")
    options = parser.parse_args(arguments)
    if options.data_dir is None:
        raise SystemExit("error: --data-dir or DROPOUT_DATA_DIR has to name a folder with mnist")
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        new_run = partial(Run, Path(options.data_dir) / "mnist")
        trials = [
            new_run(dropout, rate, options.epochs, seed=1000, on_test_rows=False)
            for dropout, rates_of_dropout in RATES.items()
            for rate in rates_of_dropout
        ]
        rates = {
            dropout: min(zip(RATES[dropout], found, strict=True), key=lambda pair: pair[1].error)[0]
            for dropout, found in train_all(pool, trials).items()
        }
        seeds = range(options.seeds)
        runs = [new_run(*best, options.epochs, seed) for seed in seeds for best in rates.items()]
        results = train_all(pool, runs)
        speeds = {
            dropout: statistics.median(result.rows_per_second for result in found)
            for dropout, found in results.items()
        }
        speedup = speeds["batchwise"] / speeds["standard"]
        in_time = max(1, round(options.epochs / speedup))
        standard = ("standard", rates["standard"], in_time)
        shorter = train_all(pool, [new_run(*standard, seed) for seed in seeds])["standard"]
    equal_time = "standard, equal time"
    results[equal_time] = shorter
    num_epochs = dict.fromkeys(rates, options.epochs) | {equal_time: in_time}
    print(f"\nMNIST, 784-1024-1024-10, dropout .2/.5/.5, {options.seeds} seeds")
    print(f"batchwise trains {speedup:.2f} times the rows of standard dropout a second\n")
    print(f"{'':22}{'rate':>6}{'epochs':>8}{'test error %':>16}   of each seed")
    report = {}
    for name, found in results.items():
        errors = [result.error for result in found]
        rate = rates[name.split(",")[0]]
        listed = " ".join(f"{error:.2f}" for error in errors)
        print(f"{name:22}{rate:>6g}{num_epochs[name]:>8}{_mean(errors):>16}   {listed}")
        report[name] = {"rate": rate, "epochs": num_epochs[name], "errors": errors}
    write_report({"speedup": speedup, **report}, options)


def _mean(values: list[float]) -> str:
    """Return the mean with its standard error, as text."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{statistics.mean(values):.3f} +- {error:.3f}"


if __name__ == "__main__":
    with benchmark_run():
        main()
