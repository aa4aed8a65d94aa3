"""Which networks can be trained as one: a stack."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, get_args

from dropout_core.config.network import FusedActivation, MLPConfig
from dropout_core.config.training import TrainingConfig

_VERSION = 1


def stack_key(
    *, model: MLPConfig, training: TrainingConfig, rest: Mapping[str, Any] | bytes
) -> str | None:
    """Return a hash of all that networks of one stack share, 64 characters; None for no stack.

    Networks with equal keys have parameters and batches of the same shapes. Their dropout, initial
    weights, seeds, optimizers, schedules, class weights, label smoothing, epochs, early stopping
    and bounds of norms may differ. None means that `training.stacked` is false, or that such a
    network is not computed in a stack. `rest` is what else is to be equal, such as the dataset, the
    task and the preprocessing: values of JSON, or bytes.
    """
    if not training.stacked or not can_stack(model, training):
        return None
    shared = {
        "version": _VERSION,
        "hidden": model.hidden,
        "activation": model.activation,
        "batch_size": training.batch_size,
        "loss": training.loss,
        "quantiles": training.quantiles,
        "device": training.device,
    }
    digest = hashlib.sha256(_canonical(shared))
    digest.update(b"\n" + (rest if isinstance(rest, bytes) else _canonical(rest)))
    return digest.hexdigest()


def can_stack(model: MLPConfig, training: TrainingConfig) -> bool:
    """Return whether such a network is one of linear layers and dropout of units, on a CPU."""
    return (
        training.device != "cuda"
        and training.precision == "float32"
        and model.activation in get_args(FusedActivation)
        and model.members == 1
        and not model.batch_norm
        and not model.parametric_activation
        and not model.input_scaling
        and all(d.kind == "bernoulli" for d in (model.input_dropout, *model.hidden_dropout))
    )


def _canonical(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
