"""How much memory training will take, known before any of it is taken."""

import itertools

from dropout_core.config import MLPConfig, TrainingConfig

_FLOAT = 4
_STATE_TENSORS = {"sgd": 1, "adam": 2, "adamw": 2}  # optimizer tensors a parameter


def num_parameters(config: MLPConfig, *, in_features: int, out_features: int) -> int:
    """Trainable parameters of the MLP that `config` builds."""
    widths = (in_features, *config.hidden, out_features)
    weights = sum(fan_in * fan_out for fan_in, fan_out in itertools.pairwise(widths))
    affine = 2 if config.batch_norm else 1  # scale and shift in place of a bias
    return weights + affine * sum(config.hidden) + out_features


def training_bytes(
    model: MLPConfig,
    training: TrainingConfig,
    *,
    in_features: int,
    out_features: int,
    num_rows: int,
) -> int:
    """Estimated peak bytes: the data, what is kept a parameter, and the activations of a batch.

    An activation counts four times: before and after its nonlinearity, its mask, its gradient.
    """
    parameters = num_parameters(model, in_features=in_features, out_features=out_features)
    copies = 2 + _STATE_TENSORS[training.optimizer.name]
    copies += training.early_stopping is not None
    batch_rows = min(training.batch_size, num_rows)
    activations = batch_rows * (in_features + 4 * sum(model.hidden) + 2 * out_features)
    data = num_rows * (in_features + 2)
    return _FLOAT * (copies * parameters + activations + data)
