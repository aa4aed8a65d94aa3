"""Monte-Carlo dropout: predictions with dropout left on, and how far they disagree.

Shapes: S samples, N rows, C outputs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from dropout_core.config import Task
from dropout_core.layers import STOCHASTIC
from dropout_core.mlp import MLP
from dropout_core.seeds import generator


@dataclass(frozen=True)
class Uncertainty:
    """Over S stochastic passes: of probabilities for classes, of values for a regression.

    `entropy` is that of the mean prediction, the total uncertainty; `mutual_information` the part
    of it that more data could take away; of several labels the sum. In nats, (N), None for a
    regression. Gal and
    Ghahramani 2016, section 4; Gal 2016, section 3.3.
    """

    mean: Tensor
    standard_deviation: Tensor
    entropy: Tensor | None
    mutual_information: Tensor | None


@torch.inference_mode()
def monte_carlo(
    model: MLP, features: Tensor, *, task: Task, num_samples: int, seed: int
) -> Uncertainty:
    """Predict with dropout on, `num_samples` times, with masks that are a function of the seed.

    Shape: features (N, F) -> mean and standard deviation (N, C). Batchwise dropout draws one mask a
    pass for all rows; batch norm stays in eval mode, and the model is left as it was.
    Raises ValueError unless there are at least two samples.
    """
    if num_samples < 2:
        raise ValueError(f"a standard deviation needs 2 samples, but got {num_samples}")
    samples_SNC = sample_outputs(model, features, num_samples=num_samples, seed=seed).double()
    if task == "regression":
        return Uncertainty(samples_SNC.mean(dim=0), samples_SNC.std(dim=0), None, None)
    is_multilabel = task == "multilabel"
    entropy = _entropy_of_labels if is_multilabel else _entropy
    probabilities_SNC = samples_SNC.sigmoid() if is_multilabel else samples_SNC.softmax(dim=2)
    mean_NC = probabilities_SNC.mean(dim=0)
    entropy_N = entropy(mean_NC)
    return Uncertainty(
        mean=mean_NC,
        standard_deviation=probabilities_SNC.std(dim=0),
        entropy=entropy_N,
        # Rounding must not make a quantity negative that cannot be.
        mutual_information=(entropy_N - entropy(probabilities_SNC).mean(dim=0)).clamp_min(0.0),
    )


@torch.inference_mode()
def model_average(model: MLP, features: Tensor, *, num_samples: int, seed: int) -> Tensor:
    """The mean probabilities, of one of C classes, of sampled networks: (N, F) -> (N, C) float64.

    What weight scaling, the ordinary eval mode, approximates. Srivastava et al. 2014, section 7.5.
    """
    samples_SNC = sample_outputs(model, features, num_samples=num_samples, seed=seed).double()
    return samples_SNC.softmax(dim=2).mean(dim=0)


def sample_outputs(model: MLP, features: Tensor, *, num_samples: int, seed: int) -> Tensor:
    """The outputs of `num_samples` sub-networks: (N, F) -> (S, N, C)."""
    was_training = {module: module.training for module in model.modules()}
    dropouts = [m for m in model.modules() if isinstance(m, STOCHASTIC)]
    generators = {m: m.generator for m in (*dropouts, model.inputs) if m is not None}
    stream = generator(seed, "monte carlo", device=features.device)
    try:
        model.eval()
        model.use_generator(stream)
        for dropout in dropouts:
            dropout.train()
        return torch.stack([model(features) for _ in range(num_samples)])
    finally:
        for module, training in was_training.items():
            module.training = training
        for drawing, before in generators.items():
            drawing.generator = before


def _entropy(probabilities: Tensor) -> Tensor:
    entropy: Tensor = torch.special.entr(probabilities).sum(dim=-1)
    return entropy


def _entropy_of_labels(probabilities: Tensor) -> Tensor:
    return _entropy(probabilities) + _entropy(1.0 - probabilities)
