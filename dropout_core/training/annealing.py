"""The weight decay and the dropout of a run, which may change from step to step."""

import torch
from torch import nn

from dropout_core.config import TrainingConfig
from dropout_core.nn.layers import STOCHASTIC
from dropout_core.training.optimizers import flat_cosine, middle


class Annealing:
    """Set the weight decay and the dropout probabilities for a step, as `config` schedules them.

    They are functions of the step alone, so a run that is restored has nothing to remember.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        config: TrainingConfig,
        *,
        num_steps: int,
    ) -> None:
        self._optimizer = optimizer
        self._num_steps = num_steps
        self._decay = config.weight_decay_schedule
        self._dropout = config.dropout_schedule
        # In a state that is restored, the groups have the decay of the step when it was saved.
        self._decays = [group["weight_decay"] for group in optimizer.param_groups]
        self._probabilities = [(m, m.p) for m in model.modules() if isinstance(m, STOCHASTIC)]

    def begin(self, step: int) -> None:
        """Set the values for a step, counted from 0."""
        share = middle(step, self._num_steps)
        if self._decay is not None:
            factor = flat_cosine(share, flat=self._decay.flat)
            for group, decay in zip(self._optimizer.param_groups, self._decays, strict=True):
                group["weight_decay"] = decay * factor
        if self._dropout is not None:
            self._scale_dropout(flat_cosine(share, flat=self._dropout.flat))

    def end(self) -> None:
        """Give the model its own dropout back, which `mc_dropout` and other runs need."""
        if self._dropout is not None:
            self._scale_dropout(1.0)

    def _scale_dropout(self, factor: float) -> None:
        for module, p in self._probabilities:
            module.p = p * factor
