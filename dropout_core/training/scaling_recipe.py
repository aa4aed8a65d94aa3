"""Convert a training recipe between classic and inverted dropout.

Classic dropout leaves the kept units as they are and multiplies by `keep` at inference (Srivastava
et al. 2014, section 4); inverted dropout divides the kept units by `keep` while training. A network
of one convention computes what a network of the other does if its weights are scaled by the `keep`
of their inputs. Training preserves this if the settings that act on the weights are scaled too:

    weights x keep,  their learning rate x keep^2 (SGD) or x keep (Adam),  max norm x keep,

with weight decay and Adam's epsilon to match; biases do not change. So settings that were tuned in
one convention can be used in the other with the same result.

    recipe = convert(model_config, training_config, to="inverted")
    network = recipe.network(in_features=784, out_features=10)
    groups = recipe.parameter_groups(network)
    train(network, data, recipe.training, task="multiclass", parameter_groups=groups)
"""

from dataclasses import dataclass
from typing import Any, Literal

from dropout_core.config import (
    AdamConfig,
    AdamWConfig,
    CosineConfig,
    DropoutConfig,
    MLPConfig,
    SGDConfig,
    TrainingConfig,
)
from dropout_core.nn.masks import keep_probability
from dropout_core.nn.members import Average
from dropout_core.nn.mlp import MLP

Scaling = Literal["inverted", "classic"]


@dataclass(frozen=True)
class Recipe:
    """A network and its training, with a factor for the weights of each linear layer.

    `weight_factors` go from the first hidden layer to the output; 1 means not converted.
    """

    model: MLPConfig
    training: TrainingConfig
    weight_factors: tuple[float, ...]

    def network(self, *, in_features: int, out_features: int, average: Average = "values") -> MLP:
        """Build the network with its initial weights and max norms multiplied by the factors.

        The arguments are those of `MLP`.
        """
        network = MLP(
            self.model,
            in_features=in_features,
            out_features=out_features,
            average=average,
            seed=self.training.seed,
        )
        for linear, factor in zip(network.linears, self.weight_factors, strict=True):
            linear.weight.data.mul_(factor)
        if self.model.max_norm is not None:
            network.max_norms = [self.model.max_norm * factor for factor in self.weight_factors]
        return network

    def parameter_groups(self, network: MLP) -> list[dict[str, Any]]:
        """Return the optimizer's parameter groups: all others, then each layer's weights."""
        weights = [linear.weight for linear in network.linears]
        scaled = {id(weight) for weight in weights}
        others = [p for p in network.parameters() if id(p) not in scaled]
        return [{"params": others}] + [
            {"params": [weight], **self._options(factor)}
            for weight, factor in zip(weights, self.weight_factors, strict=True)
        ]

    def _options(self, factor: float) -> dict[str, float]:
        """Return the optimizer options of weights that were multiplied by `factor`."""
        match self.training.optimizer:
            case SGDConfig(lr=lr, weight_decay=decay):
                # w -= lr (g + decay w): w is multiplied by the factor and g divided by it, so lr is
                # multiplied by its square, and decay divided by that.
                return {"lr": lr * factor**2, "weight_decay": decay / factor**2}
            case AdamConfig(lr=lr, eps=eps, weight_decay=decay):
                # Adam's step does not depend on the size of g except through eps.
                return {"lr": lr * factor, "eps": eps / factor, "weight_decay": decay / factor**2}
            case AdamWConfig(lr=lr, eps=eps, weight_decay=decay):
                # The same, but for the decay, which is lr times w, without g.
                return {"lr": lr * factor, "eps": eps / factor, "weight_decay": decay / factor}


def convert(model: MLPConfig, training: TrainingConfig, *, to: Scaling) -> Recipe:
    """Return the recipe that trains the same network with Bernoulli dropout scaled as `to` says.

    Given the same masks, the weights of both differ only by their factors. Raises ValueError if
    there is no such recipe: for a dropout that keeps nothing, for gradients clipped by a norm over
    all layers, and for a schedule that ends at a given learning rate.
    """
    if training.max_grad_norm is not None:
        raise ValueError("`max_grad_norm` clips by a norm over all layers: leave it out to convert")
    if isinstance(training.scheduler, CosineConfig) and training.scheduler.min_lr > 0:
        raise ValueError("a `min_lr` above 0 is the same for all layers: set it to 0 to convert")
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
    """Return the factor of the weights whose inputs are dropped by `dropout`."""
    if dropout.kind != "bernoulli" or dropout.scaling == to:
        return 1.0
    keep = keep_probability(dropout.drop_probability)
    if keep == 0.0:
        raise ValueError("a dropout that keeps nothing cannot be converted")
    return keep if to == "inverted" else 1.0 / keep
