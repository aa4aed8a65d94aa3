"""Measure the test error on MNIST of batchwise and standard dropout, over five seeds.

    DROPOUT_DATA_DIR=path/with/mnist python -m benchmarks.accuracy --json out.json

The network is 784-1024-1024-10 with dropout .2/.5/.5. For each dropout, the learning rate is chosen
on 10,000 held-out rows. Then it trains on all 60,000 rows with every seed; the test rows are used
once a run, at its end. With equal wall time, standard dropout trains as many epochs as fit into the
time of batchwise dropout, at the speeds measured in these runs, which run side by side.

With batchwise dropout, the rows of a whole batch share a mask: smaller batches see more masks an
epoch, and larger ones train faster.
"""

import argparse
import json
import math
import os
import statistics
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import torch

from benchmarks.images import load_part
from benchmarks.run_folder import benchmark_run
from dropout_core.config import MLPConfig, TrainingConfig
from dropout_core.nn.mlp import MLP
from dropout_core.training.loop import Diverged, TrainingData, train
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


class Study:
    """The runs of a study, of which a few run at a time."""

    def __init__(self, pool: ProcessPoolExecutor, folder: Path) -> None:
        self._pool = pool
        self._folder = folder

    def best_rates(self, num_epochs: int) -> dict[str, float]:
        """Return each dropout's rate with the lowest error on held-out rows, with one seed."""
        runs = [
            Run(self._folder, dropout, rate, num_epochs, seed=1000, on_test_rows=False)
            for dropout, rates in RATES.items()
            for rate in rates
        ]
        errors: dict[str, dict[float, float]] = {dropout: {} for dropout in RATES}
        for run, result in zip(runs, self._pool.map(train_once, runs), strict=True):
            errors[run.dropout][run.rate] = result.error
            print(f"{run.dropout:10} rate {run.rate:<5g} held-out error {result.error:.2f} %")
        return {dropout: min(found, key=found.__getitem__) for dropout, found in errors.items()}

    def over_seeds(
        self, rates: dict[str, float], num_epochs: int, num_seeds: int
    ) -> dict[str, list[Result]]:
        """Return the results of all seeds for each dropout with its rate."""
        runs = [
            Run(self._folder, dropout, rate, num_epochs, seed)
            for seed in range(num_seeds)
            for dropout, rate in rates.items()
        ]
        results: dict[str, list[Result]] = {dropout: [] for dropout in rates}
        for run, result in zip(runs, self._pool.map(train_once, runs), strict=True):
            results[run.dropout].append(result)
        return results


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("DROPOUT_DATA_DIR"))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, a thread each")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    if options.data_dir is None:
        raise SystemExit("error: --data-dir or DROPOUT_DATA_DIR has to name a folder with mnist")
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        study = Study(pool, Path(options.data_dir) / "mnist")
        rates = study.best_rates(options.epochs)
        results = study.over_seeds(rates, options.epochs, options.seeds)
        speeds = {
            dropout: statistics.median(result.rows_per_second for result in found)
            for dropout, found in results.items()
        }
        speedup = speeds["batchwise"] / speeds["standard"]
        in_time = max(1, round(options.epochs / speedup))
        alone = {"standard": rates["standard"]}
        shorter = study.over_seeds(alone, in_time, options.seeds)["standard"]
    equal_time = "standard, equal time"
    results[equal_time] = shorter
    num_epochs = dict.fromkeys(rates, options.epochs) | {equal_time: in_time}
    print(f"\nMNIST, 784-1024-1024-10, dropout .2/.5/.5, {options.seeds} seeds")
    print(f"batchwise trains {speedup:.2f} times the rows of standard dropout a second\n")
    print(f"{'':22}{'rate':>6}{'epochs':>8}{'test error %':>16}   of each seed")
    report = {}
    for name, runs in results.items():
        errors = [run.error for run in runs]
        rate = rates[name.split(",")[0]]
        listed = " ".join(f"{error:.2f}" for error in errors)
        print(f"{name:22}{rate:>6g}{num_epochs[name]:>8}{_mean(errors):>16}   {listed}")
        report[name] = {"rate": rate, "epochs": num_epochs[name], "errors": errors}
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"speedup": speedup, **report}, indent=2))


def _mean(values: list[float]) -> str:
    """Return the mean with its standard error, as text."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{statistics.mean(values):.3f} +- {error:.3f}"


if __name__ == "__main__":
    with benchmark_run():
        main()
