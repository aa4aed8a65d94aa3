"""The moving average of a network's weights."""

from itertools import compress

from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dropout_core.nn.mlp import MLP


def moving_average(model: MLP, decay: float) -> AveragedModel:
    """Build the moving average of the weights and of the statistics of batch norm."""
    model.use_generator(None)  # the average is only run in eval mode
    move = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    def update(averages: list[Tensor], values: list[Tensor], num_averaged: Tensor | int) -> None:
        # Columns' indices would be averaged and rounded down. Counts are, as ever: nothing reads
        # them, but they are among the stored bits of a model.
        pairs = list(zip(averages, values, strict=True))
        is_index = [value.dim() > 0 and not value.is_floating_point() for value in values]
        for average, value in compress(pairs, is_index):
            average.copy_(value)
        moving = [pair for pair, fixed in zip(pairs, is_index, strict=True) if not fixed]
        if moving:
            move([average for average, _ in moving], [value for _, value in moving], num_averaged)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)  # type: ignore[arg-type]
