"""One recipe in both conventions of dropout.

Classic dropout leaves the kept units as they are and multiplies by `keep` at inference (Srivastava
et al. 2014, section 4); inverted dropout divides the kept units by `keep` while training. A network
of one convention computes what a network of the other does if its weights are scaled by the `keep`
of their inputs, and goes on doing so through training if what acts on the weights is scaled too:

    weights x keep,  their learning rate x keep^2 (SGD) or x keep (Adam),  max norm x keep,

with weight decay and Adam's epsilon to match; biases are left alone. So what was tuned in one
convention can be followed exactly in the other.

    recipe = convert(model_config, training_config, to="inverted")
    network = recipe.network(in_features=784, out_features=10)
    groups = recipe.parameter_groups(network)
    train(network, data, recipe.training, task="multiclass", parameter_groups=groups)
"""

from dataclasses import dataclass
from typing import Any, Literal

from dropout_core.config import (
    AdamWConfig,
    CosineConfig,
    DropoutConfig,
    MLPConfig,
    SGDConfig,
    TrainingConfig,
)
from dropout_core.nn.masks import keep_probability
from dropout_core.nn.mlp import MLP

Scaling = Literal["inverted", "classic"]


@dataclass(frozen=True)
class Recipe:
    """A network and its training, with a factor for the weights of each linear layer.

    `weight_factors` are 1 where nothing was converted: from the first hidden layer to the output.
    """

    model: MLPConfig
    training: TrainingConfig
    weight_factors: tuple[float, ...]

    def network(self, *, in_features: int, out_features: int) -> MLP:
        """The network with its initial weights, and its max norms, multiplied by their factors."""
        network = MLP(
            self.model,
            in_features=in_features,
            out_features=out_features,
            seed=self.training.seed,
        )
        for linear, factor in zip(network.linears, self.weight_factors, strict=True):
            linear.weight.data.mul_(factor)
        if self.model.max_norm is not None:
            network.max_norms = [self.model.max_norm * factor for factor in self.weight_factors]
        return network

    def parameter_groups(self, network: MLP) -> list[dict[str, Any]]:
        """What the optimizer is built from: the weights of each layer, and everything else."""
        weights = [linear.weight for linear in network.linears]
        scaled = {id(weight) for weight in weights}
        others = [p for p in network.parameters() if id(p) not in scaled]
        return [{"params": others}] + [
            {"params": [weight], **self._options(factor)}
            for weight, factor in zip(weights, self.weight_factors, strict=True)
        ]

    def _options(self, factor: float) -> dict[str, float]:
        """Weights scaled by a factor have gradients divided by it."""
        optimizer = self.training.optimizer
        if isinstance(optimizer, SGDConfig):
            # w -= lr (g + decay w): g is divided, so lr takes the factor twice, decay makes up.
            return {
                "lr": optimizer.lr * factor**2,
                "weight_decay": optimizer.weight_decay / factor**2,
            }
        # Adam's step knows no size of g but for eps; AdamW's decay acts on w alone, times lr.
        power = 1 if isinstance(optimizer, AdamWConfig) else 2
        return {
            "lr": optimizer.lr * factor,
            "eps": optimizer.eps / factor,
            "weight_decay": optimizer.weight_decay / factor**power,
        }


def convert(model: MLPConfig, training: TrainingConfig, *, to: Scaling) -> Recipe:
    """The recipe that trains the same network with every Bernoulli dropout scaled the other way.

    Given the same masks, the weights of both stay the same but for their factors. Raises ValueError
    where there is no such recipe: for a dropout that keeps nothing, for gradients clipped by a norm
    over all layers, and for a schedule with an end of its own in learning rates.
    """
    if training.max_grad_norm is not None:
        raise ValueError("a norm over all gradients is another one in the other convention")
    if isinstance(training.scheduler, CosineConfig) and training.scheduler.min_lr > 0:
        raise ValueError("a `min_lr` above 0 is one rate for all weights: there is no factor to it")
    before_linears = (model.input_dropout, *model.hidden_dropout)
    return Recipe(
        model=model.model_copy(
            update={
                "input_dropout": _rescaled(model.input_dropout, to),
                "hidden_dropout": tuple(_rescaled(d, to) for d in model.hidden_dropout),
            }
        ),
        training=training,
        weight_factors=tuple(_weight_factor(dropout, to) for dropout in before_linears),
    )


def _rescaled(dropout: DropoutConfig, to: Scaling) -> DropoutConfig:
    return dropout.model_copy(update={"scaling": to}) if dropout.kind == "bernoulli" else dropout


def _weight_factor(dropout: DropoutConfig, to: Scaling) -> float:
    """What the weights that take these inputs are multiplied by."""
    if dropout.kind != "bernoulli" or dropout.scaling == to:
        return 1.0
    keep = keep_probability(dropout.drop_probability)
    if keep == 0.0:
        raise ValueError("a dropout that keeps nothing is the same in neither convention")
    return keep if to == "inverted" else 1.0 / keep
