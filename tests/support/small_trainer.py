"""A trainer whose memory is too small for a stack of more than two networks."""

from typing import Any

import pytest

from dropout_core.training.stack import Stack
from worker.trainer import main as _main


def main(*arguments: Any) -> None:
    """Run the trainer."""
    train = Stack.__iter__

    def too_small(stack: Stack) -> Any:
        if len(stack.trainings) > 2:
            raise MemoryError("too many networks")
        return train(stack)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stack, "__iter__", too_small)
        _main(*arguments)
