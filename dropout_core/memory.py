"""How much memory training will take, known before any of it is taken."""

import itertools

from dropout_core.config import MLPConfig, TrainingConfig

_FLOAT = 4
_MASK = 3  # bytes: an element, and the random bits it is drawn from
_STATE_TENSORS = {"sgd": 1, "adam": 2, "adamw": 2}  # optimizer tensors a parameter


def num_parameters(config: MLPConfig, *, in_features: int, out_features: int) -> int:
    """Trainable parameters of the MLP that `config` builds."""
    widths = (in_features, *config.hidden)
    hidden = sum(fan_in * fan_out for fan_in, fan_out in itertools.pairwise(widths))
    hidden += (2 if config.batch_norm else 1) * sum(config.hidden)  # scale and shift, or a bias
    return config.num_pieces * hidden + (widths[-1] + 1) * out_features


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
    DropConnect with masks of single examples has one of all its weights for every row of a batch.
    """
    parameters = num_parameters(model, in_features=in_features, out_features=out_features)
    copies = 2 + _STATE_TENSORS[training.optimizer.name]
    copies += (training.early_stopping is not None) + (training.ema_decay is not None)
    batch_rows = min(training.batch_size, num_rows)
    width = model.num_pieces * sum(model.hidden)
    activations = batch_rows * (in_features + 4 * width + 2 * out_features)
    data = num_rows * (in_features + 2)
    masks = batch_rows * _weights_masked_by_example(model, in_features=in_features)
    return _FLOAT * (copies * parameters + activations + data) + _MASK * masks


def _weights_masked_by_example(config: MLPConfig, *, in_features: int) -> int:
    layers = itertools.pairwise((in_features, *config.hidden))
    return config.num_pieces * sum(
        fan_in * fan_out
        for (fan_in, fan_out), dropout in zip(layers, config.hidden_dropout, strict=True)
        if dropout.kind == "dropconnect" and dropout.masks != "per_batch"
    )
