"""Monte-Carlo dropout: what the sub-networks of a network predict, and how far they disagree.

A sample is one sub-network, the same for every row: a draw of weights, and so of a function (Gal
2016, chapter 3). Ordinary training code draws masks for each row, which then depend on the row's
place and company; here a row's result is a function of the row, the seed and the number of samples.
Kirsch, van Amersfoort and Gal 2019 call such masks consistent. The price is that one sample errs
the same way for all rows, so averages over rows gain less from their number.

Shapes: S samples, N rows, F features, C outputs.
"""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Generator, Tensor, nn

from dropout_core.config import Task
from dropout_core.nn.inputs import CategoryInputs
from dropout_core.nn.layers import DropConnectLinear
from dropout_core.nn.mlp import MLP, HiddenLayer
from dropout_core.seeds import generator


@dataclass(frozen=True)
class Uncertainty:
    """Of S samples: of probabilities for classes and labels, of values for a regression.

    Mean and standard deviation are (N, C). `entropy` (N) is that of the mean prediction, the total
    uncertainty; `mutual_information` (N) the part of it that more data could take away; of several
    labels the sum. In nats, and None for a regression. Gal and Ghahramani 2016, section 4; Gal
    2016, section 3.3.
    """

    mean: Tensor
    standard_deviation: Tensor
    entropy: Tensor | None
    mutual_information: Tensor | None


class SubNetworks:
    """The networks that a network's dropout samples: each a function of a seed and a number.

    Dropout is the only chance in them: batch norm keeps its statistics, and no category becomes
    unknown. They share the weights of `network`, change nothing of it, and do not see its mode, so
    that it may serve at the same time.
    """

    def __init__(self, network: MLP) -> None:
        shared = (*network.parameters(), *network.buffers())
        self._network = copy.deepcopy(network, {id(tensor): tensor for tensor in shared}).eval()

    def sample(self, *, seed: int, number: int) -> nn.Sequential:
        """Sub-network `number` of `seed`, without dropout of its own: (N, F) -> (N, C).

        Its layers are those of the network in eval mode and in the same shapes, with fixed factors
        in between; DropConnect has become a plain linear layer. The masks are drawn on the CPU,
        so they are the same for every device.
        """
        return nn.Sequential(*_layers(self._network, generator(seed, "sub-network", number)))


@torch.inference_mode()
def monte_carlo(
    network: MLP, features: Tensor, *, task: Task, num_samples: int, seed: int
) -> Uncertainty:
    """What `num_samples` sub-networks predict: features (N, F) -> mean and deviation (N, C).

    A row's masks do not depend on the others; to keep its rounding from them too takes tiles of
    rows, see `inference`. Raises ValueError unless there are at least two samples.
    """
    outputs = (
        outputs_NC.double()
        for outputs_NC in _sampled(network, features, num_samples=num_samples, seed=seed)
    )
    match task:
        case "regression":
            return summarise(outputs, task=task)
        case "multilabel":
            return summarise((outputs_NC.sigmoid() for outputs_NC in outputs), task=task)
        case _:
            return summarise((outputs_NC.softmax(dim=1) for outputs_NC in outputs), task=task)


def model_average(network: MLP, features: Tensor, *, num_samples: int, seed: int) -> Tensor:
    """The mean probabilities, of one of C classes, of sub-networks: (N, F) -> (N, C) float64.

    What weight scaling, the ordinary eval mode, approximates. Raises ValueError unless there are at
    least two samples. Srivastava et al. 2014, section 7.5.
    """
    averaged = monte_carlo(network, features, task="multiclass", num_samples=num_samples, seed=seed)
    return averaged.mean


@torch.inference_mode()
def sample_outputs(network: MLP, features: Tensor, *, num_samples: int, seed: int) -> Tensor:
    """The outputs of `num_samples` sub-networks: (N, F) -> (S, N, C)."""
    return torch.stack(list(_sampled(network, features, num_samples=num_samples, seed=seed)))


def summarise(samples: Iterable[Tensor], *, task: Task) -> Uncertainty:
    """Sum up probabilities, or values of a regression: S times (N, C) float64, one at a time.

    A row's bits depend on no other row: torch adds up a column in an order that depends on how
    many there are, so samples are taken in turn, by element (Welford 1962), and equal ones have
    exactly their value as mean and no deviation. Raises ValueError unless there are at least two.
    """
    num_samples = 0
    mean_NC = squares_NC = entropy_N = torch.zeros((), dtype=torch.float64)
    for sample_NC in samples:
        num_samples += 1
        before_NC = sample_NC - mean_NC
        mean_NC = mean_NC + before_NC / num_samples
        squares_NC = squares_NC + before_NC * (sample_NC - mean_NC)
        if task != "regression":
            entropy_N = entropy_N + (_entropy(sample_NC, task) - entropy_N) / num_samples
    if num_samples < 2:
        raise ValueError(f"a standard deviation needs 2 samples, but got {num_samples}")
    deviation_NC = (squares_NC / (num_samples - 1)).sqrt()
    if task == "regression":
        return Uncertainty(mean_NC, deviation_NC, None, None)
    total_N = _entropy(mean_NC, task)
    # Rounding must not make a quantity negative that cannot be.
    return Uncertainty(mean_NC, deviation_NC, total_N, (total_N - entropy_N).clamp_min(0.0))


def _sampled(network: MLP, features: Tensor, *, num_samples: int, seed: int) -> Iterator[Tensor]:
    sub_networks = SubNetworks(network)
    for number in range(num_samples):
        yield sub_networks.sample(seed=seed, number=number)(features)


def _entropy(probabilities: Tensor, task: Task) -> Tensor:
    """Of one of C classes, or of C labels together, in nats: (N, C) -> (N)."""
    terms_NC = torch.special.entr(probabilities)
    if task == "multilabel":
        terms_NC = terms_NC + torch.special.entr(1.0 - probabilities)
    entropy_N: Tensor = terms_NC.sum(dim=1)
    return entropy_N


def _layers(network: MLP, stream: Generator) -> Iterator[nn.Module]:
    """What one draw from `stream` leaves of a network, from its inputs to its outputs."""
    like, width = network.output.weight, network.in_features
    if network.inputs is not None:
        yield network.inputs
        yield _Noise(_embedding_factors(network.inputs, stream).to(like))
        width = network.inputs.out_features
    yield _Noise(_factors(network.input_dropout, width, stream).to(like))
    for layer in cast(Iterable[HiddenLayer], network.hidden):
        linear = layer.linear
        yield linear.sample(stream) if isinstance(linear, DropConnectLinear) else linear
        if layer.norm is not None:
            yield layer.norm
        yield layer.activation
        yield _Noise(_factors(layer.dropout, layer.num_units, stream).to(like))
    yield network.output


def _factors(dropout: nn.Module, num_units: int, stream: Generator) -> Tensor:
    """What a draw of `dropout` multiplies its units by, which is what it makes of ones: (1, H)."""
    drawing = copy.copy(dropout).train()  # the other one may be serving
    drawing.generator = stream  # type: ignore[assignment]
    factors: Tensor = drawing(torch.ones(1, num_units))
    return factors


def _embedding_factors(inputs: CategoryInputs, stream: Generator) -> Tensor:
    """Embeddings come last of the inputs, and only they are dropped there: (1, W)."""
    num_embedded = sum(cast(nn.Embedding, table).embedding_dim for table in inputs.embeddings)
    others = torch.ones(1, inputs.out_features - num_embedded)
    return torch.cat([others, _factors(inputs.dropout, num_embedded, stream)], dim=1)


class _Noise(nn.Module):
    """Multiplies every row by the same factors: (N, H) -> (N, H)."""

    def __init__(self, factors: Tensor) -> None:
        super().__init__()
        self.factors = factors

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factors.expand_as(x)  # a single column must not become many
