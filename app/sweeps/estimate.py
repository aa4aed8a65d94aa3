"""How long a training takes, about: a few of its steps are measured, on random rows."""

import itertools
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from dropout_core.config import MLPConfig, Task, TrainingConfig
from dropout_core.nn.members import AVERAGES
from dropout_core.nn.mlp import MLP
from dropout_core.training.loop import Training
from dropout_core.training.memory import num_parameters
from dropout_core.training.stack import Stack
from dropout_core.training.training_data import TrainingData

MEASURED_SECONDS = 0.1  # for each of the two measurements
MAX_PARAMETERS = 300_000  # of the network that is measured
MAX_WORK = 20_000_000  # parameters times rows of a batch
NUM_BATCHES = 2  # of an epoch that is measured
STACK_SIZE = 8


@dataclass(frozen=True)
class Network:
    """What is trained: a network with so many inputs and outputs, and how, on so many rows."""

    model: MLPConfig
    training: TrainingConfig
    in_features: int
    out_features: int
    task: Task
    num_rows: int
    num_validation: int


@dataclass(frozen=True)
class Rates:
    """Rows that are trained on in a second, of one network by itself and of all in a stack.

    The time counts in which other rows are validated.
    """

    alone: float
    stacked: float | None

    def seconds(self, num_rows: float) -> float:
        """Return the time to train on so many rows, in a stack where there is one."""
        return num_rows / max(self.alone, self.stacked or 0.0)


def measure(network: Network) -> Rates:
    """Train a few batches and return the rates, in about 0.3 s.

    A large network is measured narrower, and a large batch smaller: the time is about proportional
    to both. Early stopping, refits, calibration and folds are not measured.
    """
    sample, scale = _reduced(network)
    alone = _rows_per_second(sample, size=1)
    stacked = _rows_per_second(sample, size=STACK_SIZE) if sample.training.stacked else None
    return Rates(alone * scale, None if stacked is None else stacked * scale)


def _reduced(network: Network) -> tuple[Network, float]:
    """Return a network that is quickly measured, and the share of its rate that the whole has."""
    model, in_features = network.model, network.in_features
    out_features = network.out_features

    def size() -> int:
        return num_parameters(model, in_features=in_features, out_features=out_features)

    whole = size()
    while size() > MAX_PARAMETERS and in_features > 1:
        model = model.model_copy(update={"hidden": tuple(-(-w // 2) for w in model.hidden)})
        in_features = -(-in_features // 2)
    scale = min(1.0, size() / whole)
    most_rows = min(network.training.batch_size, network.num_rows)
    batch_rows = max(1, min(most_rows, MAX_WORK // max(1, size())))
    num_rows = min(network.num_rows, NUM_BATCHES * batch_rows)
    num_validation = -(-network.num_validation * num_rows // network.num_rows)
    training = network.training.model_copy(
        update={
            "batch_size": batch_rows,
            "epochs": 1000,  # it ends with the time
            "early_stopping": None,
            "class_weights": None,
            "calibrate": False,
            "max_runtime_seconds": None,
            "device": "cpu",
        }
    )
    sample = Network(
        model, training, in_features, out_features, network.task, num_rows, num_validation
    )
    return sample, scale


def _rows_per_second(network: Network, *, size: int) -> float:
    """Return the rows that so many networks side by side train on in a second, all together."""
    data = _random_data(network)
    trainings = [
        Training(
            MLP(
                network.model,
                in_features=network.in_features,
                out_features=network.out_features,
                average=AVERAGES[network.task],
                seed=number,
            ),
            data,
            network.training.model_copy(update={"seed": number}),
            task=network.task,
        )
        for number in range(size)
    ]
    epochs = iter(Stack(trainings)) if size > 1 else iter(trainings[0])
    for _ in itertools.islice(epochs, size):  # the first is slower: memory is allocated
        pass
    begin, num_epochs = time.perf_counter(), 0
    while (seconds := time.perf_counter() - begin) < MEASURED_SECONDS:
        for _ in itertools.islice(epochs, size):
            num_epochs += 1
    return num_epochs * len(data.train_features) / seconds


def _random_data(network: Network) -> TrainingData:
    stream = torch.Generator().manual_seed(0)

    def rows(count: int) -> tuple[Tensor, Tensor]:
        features = torch.randn(count, network.in_features, generator=stream)
        return features, _random_targets(network, count, stream)

    validation = rows(network.num_validation) if network.num_validation else (None, None)
    return TrainingData(*rows(network.num_rows), *validation)


def _random_targets(network: Network, count: int, stream: torch.Generator) -> Tensor:
    if network.task in ("binary", "multiclass"):
        return torch.randint(network.out_features, (count,), generator=stream)
    num_targets = network.out_features // len(network.training.quantiles or (0.5,))
    values = torch.randn(count, num_targets, generator=stream)
    return (values > 0).float() if network.task == "multilabel" else values
