"""Small trainings on three clouds of points."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from dropout_core.config import (
    AdamConfig,
    CosineConfig,
    EarlyStoppingConfig,
    MLPConfig,
    Optimizer,
    Scheduler,
    TrainingConfig,
)
from dropout_core.nn.mlp import MLP
from dropout_core.training.loop import Training
from dropout_core.training.state import EpochMetrics, TrainingState
from dropout_core.training.training_data import TrainingData


def blobs(num_rows: int = 60, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return rows from three clouds in four dimensions, and the cloud of each."""
    stream = Generator().manual_seed(seed)
    classes = torch.arange(num_rows) % 3
    centres = 2 * torch.randn(3, 4, generator=Generator().manual_seed(99))
    return centres[classes] + torch.randn(num_rows, 4, generator=stream), classes


def blob_data(*, num_rows: int = 60, num_validation: int = 30) -> TrainingData:
    validation = blobs(num_validation, seed=1) if num_validation else (None, None)
    return TrainingData(*blobs(num_rows), *validation)


def blob_training(
    data: TrainingData | None = None, *, model: dict[str, Any] | None = None, **config: Any
) -> Training:
    data = data or blob_data()
    network = MLP(
        MLPConfig(**{"hidden": (8,), "hidden_dropout": 0.2, **(model or {})}),
        in_features=4,
        out_features=3,
        average="probabilities",
        seed=config.get("seed", 0),
    ).to(data.train_features.dtype)
    config = {"epochs": 3, "batch_size": 16, **config}
    return Training(network, data, TrainingConfig(**config), task="multiclass")


def full_training(
    optimizer: Optimizer,
    scheduler: Scheduler | None,
    *,
    batch_norm: bool = True,
    model: dict[str, Any] | None = None,
    **config: Any,
) -> Training:
    """Everything that a run has to remember: batch norm, dropout, early stopping, a schedule.

    With batch norm autograd computes the steps, without it a FusedStep does.
    """
    return blob_training(
        model={
            "hidden": (5, 4),
            "batch_norm": batch_norm,
            "input_dropout": 0.1,
            "max_norm": 2.0,
            **(model or {}),
        },
        optimizer=optimizer,
        scheduler=scheduler,
        early_stopping=EarlyStoppingConfig(patience=1),
        **config,
    )


def timeless(history: list[EpochMetrics]) -> list[dict[str, Any]]:
    """Return the metrics without those that depend on time."""
    return [{**vars(metrics), "samples_per_second": None} for metrics in history]


def same_bits(first: MLP, second: MLP) -> bool:
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@contextmanager
def after_each_step(watch: Callable[[], None]) -> Iterator[None]:
    """Call `watch` after every step of any optimizer."""
    hook = register_optimizer_step_post_hook(lambda *_: watch())
    try:
        yield
    finally:
        hook.remove()


def run_batches(training: Training, num_batches: int) -> None:
    """Train that many batches, then interrupt, as a supervisor does from outside the loop."""
    if num_batches == 0:
        training.interrupt()
    steps = itertools.count(1)

    def count() -> None:
        if next(steps) == num_batches:
            training.interrupt()

    with after_each_step(count):
        list(training)


def made_state(num_batches: int = 6) -> TrainingState:
    training = full_training(AdamConfig(), CosineConfig(name="cosine"), ema_decay=0.9)
    run_batches(training, num_batches)
    return training.state()
