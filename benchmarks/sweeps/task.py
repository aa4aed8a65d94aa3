"""What all contestants do: which trials there are, and what each of them trains.

This module and `torch_loop` run in both environments, so they import no other part of this project.
"""

from typing import Any

TRIALS = 64
EPOCHS = 64
REDUCTION = 4
"""Trials are compared after 1, 4 and 16 epochs, where the best quarter goes on, and after 64."""

HIDDEN = (64, 64)
BATCH_SIZE = 32
"""The default of the service and of Keras; smaller batches favour what trains trials together."""

INPUT_DROPOUT = "/model/input_dropout"
HIDDEN_DROPOUT = "/model/hidden_dropout"
LEARNING_RATE = "/training/optimizer/lr"
WEIGHT_DECAY = "/training/optimizer/weight_decay"

SPACE: dict[str, dict[str, Any]] = {
    INPUT_DROPOUT: {"uniform": [0.0, 0.3]},
    HIDDEN_DROPOUT: {"uniform": [0.0, 0.7]},
    LEARNING_RATE: {"log_uniform": [1e-4, 3e-2]},
    WEIGHT_DECAY: {"log_uniform": [1e-6, 1e-1]},
}
"""The space in the words of a sweep; the others translate it."""
