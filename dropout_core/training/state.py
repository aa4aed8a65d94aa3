"""What a training run tells of each epoch, and its state between two batches."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class EpochMetrics:
    """One epoch, counted from 1. `train_loss` is the mean over the epoch with dropout on.

    `validation_loss` and `validation_score` are what `validate` returns, with dropout off; None
    without validation rows. `learning_rate` is the last one used. `monitored` is the value that
    early stopping watches; None without early stopping, or where the metric is undefined.
    """

    epoch: int
    train_loss: float
    validation_loss: float | None
    validation_score: float | None
    learning_rate: float
    samples_per_second: float
    monitored: float | None = None

    def recorded(self) -> dict[str, Any]:
        """Return the values as release 0.1 recorded them, unless early stopping watches one."""
        values = asdict(self)
        if self.monitored is None:
            del values["monitored"]
        return values


@dataclass(frozen=True)
class TrainingState:
    """Everything that a run needs to continue between two batches: tensors, and JSON values."""

    tensors: dict[str, Tensor]
    values: dict[str, Any]

    def under(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors that `prefixed` has named, by their own names."""
        start = f"{prefix}."
        return {
            name.removeprefix(start): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(start)
        }

    def slots(self) -> dict[int, dict[str, Tensor]]:
        """Return the optimizer's tensors for each parameter, by the index of the parameter."""
        slots: dict[int, dict[str, Tensor]] = {}
        for name, tensor in self.under("optimizer").items():
            index, slot = name.split(".", 1)
            slots.setdefault(int(index), {})[slot] = tensor
        return slots


def slots_of(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's tensors by the index of their parameter and their own name."""
    return {
        f"{index}.{name}": slot
        for index, slots in optimizer.state_dict()["state"].items()
        for name, slot in slots.items()
        if isinstance(slot, Tensor)
    }


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with names that begin with the prefix and a dot."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}
