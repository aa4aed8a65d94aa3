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

from dropout_core.config import CosineConfig, DropoutConfig, MLPConfig, TrainingConfig
from dropout_core.nn.masks import keep_probability
from dropout_core.nn.members import Average
from dropout_core.nn.mlp import MLP
from dropout_core.training.layer_rates import parameter_groups

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
        """Return the optimizer's parameter groups, which allow for the factors of the weights."""
        return parameter_groups(network, self.training, weight_factors=self.weight_factors)


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
