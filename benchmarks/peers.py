"""Train the benchmark's network with other libraries, each in its own process.

    python -m benchmarks.peers keras --rows rows.npz --hidden 256 256 --hidden-p 0.2 0.5 \
        --input-p 0 --batch-size 256 --learning-rate 0.05 --threads 2

runs in the peers' environment (benchmarks/peers.txt), so it imports no other part of this project.
It prints {"ready": VERSIONS} or {"error": REASON}. Then it reads a number of batches from each
line, trains them and prints {"seconds": ...}. It ends when its standard input ends. The other end
is `peer_process.Peer`.

The seconds are those of an epoch, between the library's own marks of its beginning and end, so
work that is done once for a whole training (build a trainer, convert the rows) does not count. The
code is the first example of the library's documentation, without progress bars, logs and
checkpoints; with `--tuned`, the library's fastest way for rows in memory.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peer_process import PeerFailed

MODULES = ("keras", "tensorflow", "lightning", "skorch", "torch", "sklearn", "numpy", "h2o")
NUM_CLASSES = 10

Train = Callable[[int], float]
"""Train `num_batches` batches and return the seconds that they took."""


class Task:
    """The network to build and the rows to train on: features (N, F) float32, targets (N)."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.hidden: list[int] = options.hidden
        self.hidden_p: list[float] = options.hidden_p
        self.input_p: float = options.input_p
        self.batch_size: int = options.batch_size
        self.learning_rate: float = options.learning_rate
        self.threads: int = options.threads
        self.tuned: bool = options.tuned
        with np.load(options.rows) as rows:
            self.features, self.targets = rows["features"], rows["targets"]
        self._epochs: dict[int, tuple[Any, Any]] = {}

    def epoch(self, num_batches: int) -> tuple[Any, Any]:
        """Return the rows of `num_batches` batches; rows of the file repeat if it has too few."""
        if num_batches not in self._epochs:
            num_rows = num_batches * self.batch_size
            chosen: Any = slice(num_rows)
            if num_rows > len(self.targets):
                chosen = np.resize(np.arange(len(self.targets)), num_rows)
            self._epochs[num_batches] = self.features[chosen], self.targets[chosen]
        return self._epochs[num_batches]


def _keras(task: Task) -> Train:
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(task.threads)
    tf.config.threading.set_inter_op_parallelism_threads(task.threads)
    layers = [keras.Input((task.features.shape[1],))]
    layers += [keras.layers.Dropout(task.input_p)] if task.input_p else []
    for width, p in zip(task.hidden, task.hidden_p, strict=True):
        layers += [keras.layers.Dense(width, activation="relu"), keras.layers.Dropout(p)]
    model = keras.Sequential([*layers, keras.layers.Dense(NUM_CLASSES)])
    model.compile(
        optimizer=keras.optimizers.SGD(task.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        # A sixth faster than one step an execution; XLA is slower on a CPU.
        steps_per_execution=16 if task.tuned else 1,
    )

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, *_: Any) -> None:
            self.started = time.perf_counter()

        def on_epoch_end(self, *_: Any) -> None:
            self.seconds = time.perf_counter() - self.started

    def train(num_batches: int) -> float:
        clock = Clock()
        features, targets = task.epoch(num_batches)
        model.fit(features, targets, batch_size=task.batch_size, verbose=0, callbacks=[clock])
        return clock.seconds

    return train


def _torch_module(task: Task) -> Any:
    import torch
    from torch import nn

    torch.set_num_threads(task.threads)
    width = task.features.shape[1]
    layers: list[nn.Module] = [nn.Dropout(task.input_p)] if task.input_p else []
    for num_units, p in zip(task.hidden, task.hidden_p, strict=True):
        layers += [nn.Linear(width, num_units), nn.ReLU(), nn.Dropout(p)]
        width = num_units
    return nn.Sequential(*layers, nn.Linear(width, NUM_CLASSES))


def _loader(dataset: Any, batch_size: int, *, tuned: bool) -> Any:
    """Return shuffled batches: rows collated one by one or, a quarter faster, whole batches by
    their indices.
    """
    from torch.utils.data import BatchSampler, DataLoader, RandomSampler

    if not tuned:
        return DataLoader(dataset, batch_size, shuffle=True)
    sampler = BatchSampler(RandomSampler(range(len(dataset))), batch_size, drop_last=False)
    return DataLoader(dataset, batch_size=None, sampler=sampler)


def _lightning(task: Task) -> Train:
    import lightning
    import torch
    from torch.utils.data import TensorDataset

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = _torch_module(task)

        def training_step(self, batch: Any, _: int) -> Any:
            features, targets = batch
            return torch.nn.functional.cross_entropy(self.network(features), targets)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=task.learning_rate)

    class Clock(lightning.Callback):  # type: ignore[misc]
        def on_train_epoch_start(self, *_: Any) -> None:
            self.started = time.perf_counter()

        def on_train_epoch_end(self, *_: Any) -> None:
            self.seconds = time.perf_counter() - self.started

    module = Module()

    def train(num_batches: int) -> float:
        clock = Clock()
        rows = TensorDataset(*map(torch.from_numpy, task.epoch(num_batches)))
        loader = _loader(rows, task.batch_size, tuned=task.tuned)
        trainer = lightning.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=1,
            callbacks=[clock],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, loader)
        return clock.seconds

    return train


def _skorch(task: Task) -> Train:
    import torch
    from skorch import NeuralNetClassifier
    from skorch.callbacks import Callback

    class Clock(Callback):  # type: ignore[misc]
        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.perf_counter()

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            self.seconds = time.perf_counter() - self.started

    net = NeuralNetClassifier(
        _torch_module(task),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        lr=task.learning_rate,
        max_epochs=1,
        train_split=None,
        verbose=0,
        callbacks=[("clock", Clock())],
        batch_size=task.batch_size,
        iterator_train=partial(_loader, tuned=task.tuned),
    )

    def train(num_batches: int) -> float:
        net.partial_fit(*task.epoch(num_batches))
        seconds: float = dict(net.callbacks_)["clock"].seconds
        return seconds

    return train


def _scikit_learn(task: Task) -> Train:
    from sklearn.neural_network import MLPClassifier

    # scikit-learn has no dropout, so this is the time of a network without dropout.
    model = MLPClassifier(
        task.hidden,
        solver="sgd",
        momentum=0.0,
        alpha=0.0,
        batch_size=task.batch_size,
        learning_rate_init=task.learning_rate,
    )

    def train(num_batches: int) -> float:
        features, targets = task.epoch(num_batches)
        started = time.perf_counter()
        model.partial_fit(features, targets, classes=range(NUM_CLASSES))
        return time.perf_counter() - started

    return train


H2O_ROWS = 10_000  # they are sent as text, and more rows would only take longer to send


def _h2o(task: Task) -> Train:
    import shutil

    if shutil.which("java") is None:
        raise PeerFailed("there is no java on this machine")
    import h2o
    from h2o.backend import H2OLocalServer
    from h2o.estimators import H2ODeepLearningEstimator

    server = H2OLocalServer.start(nthreads=task.threads, enable_assertions=False, verbose=False)
    h2o.connect(server=server, verbose=False)
    h2o.no_progress()
    features, targets = task.features[:H2O_ROWS], task.targets[:H2O_ROWS]
    frame = h2o.H2OFrame(np.column_stack([features.round(3), targets]))
    frame[frame.names[-1]] = frame[frame.names[-1]].asfactor()

    def train(num_batches: int) -> float:
        """Return the time of a job's second iteration, which has full speed: the first takes up to
        three times as long, and starting and scoring a job as long again.
        """
        num_rows = num_batches * task.batch_size
        model = H2ODeepLearningEstimator(
            activation="RectifierWithDropout",
            hidden=task.hidden,
            input_dropout_ratio=task.input_p,
            hidden_dropout_ratios=task.hidden_p,
            mini_batch_size=task.batch_size,
            adaptive_rate=False,
            rate=0.005,  # its default; a higher rate makes its lock-free updates unstable
            standardize=False,
            epochs=1.5 * num_rows / frame.nrows,  # a job ends after a whole iteration: the second
            train_samples_per_iteration=num_rows,
            score_each_iteration=True,
            score_training_samples=100,
            variable_importances=False,
            overwrite_with_best_model=False,
            stopping_rounds=0,
            classification_stop=-1,
            quiet_mode=True,
        )
        model.train(x=frame.names[:-1], y=frame.names[-1], training_frame=frame)
        seconds = num_rows * _h2o_seconds_per_row(model.scoring_history(False))
        h2o.remove(model.model_id)
        return seconds

    return train


def _h2o_seconds_per_row(history: Any) -> float:
    """Return the second iteration's time; H2O's speeds count from the start, without scoring."""
    rows = [dict(zip(history.col_header, cells, strict=True)) for cells in history.cell_values]
    speeds = [float(row["training_speed"].split()[0]) for row in rows[1:3]]
    first, both = (row["samples"] for row in rows[1:3])
    return float((both / speeds[1] - first / speeds[0]) / (both - first))


PEERS: dict[str, Callable[[Task], Train]] = {
    "keras": _keras,
    "lightning": _lightning,
    "skorch": _skorch,
    "scikit-learn": _scikit_learn,
    "h2o": _h2o,
}


def main() -> None:
    say = _take_stdout()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that H2O's server ends as well
    options = _parser().parse_args()
    try:
        train = PEERS[options.name](Task(options))
        say({"ready": _versions()})
        for line in sys.stdin:
            say({"seconds": train(int(line))})
    except Exception as error:
        say({"error": " ".join(f"{type(error).__name__}: {error}".split())[:200]})


def _take_stdout() -> Callable[[dict[str, Any]], None]:
    """Reserve standard output for the answers, and send all other output to standard error."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return lambda answer: print(json.dumps(answer), file=answers)


def _versions() -> dict[str, str]:
    return {name: sys.modules[name].__version__ for name in MODULES if name in sys.modules}


def _parser() -> argparse.ArgumentParser:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--hidden", type=int, nargs="+", required=True)
    parser.add_argument("--hidden-p", type=float, nargs="+", required=True)
    parser.add_argument("--input-p", type=float, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--tuned", action="store_true", help="use the library's fastest way")
    return parser


if __name__ == "__main__":
    main()
