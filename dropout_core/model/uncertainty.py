"""Monte-Carlo dropout: the predictions of a network's sub-networks, and their disagreement.

A sample is one sub-network, the same for every row: a draw of weights, and so of a function (Gal
2016, chapter 3). Training draws a mask for each row, which depends on the row's index and on the
batch; here a row's result is a function of the row, the seed and the number of samples. Kirsch, van
Amersfoort and Gal 2019 call such masks consistent. The disadvantage is that the error of a sample
is the same for all rows, so averages over rows become accurate more slowly.

Shapes: S samples, N rows, F features, C outputs.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Generator, Tensor, nn

from dropout_core.config import Task
from dropout_core.model.forward import as_predicted
from dropout_core.nn.inputs import InputLayer
from dropout_core.nn.layers import STOCHASTIC, DropConnectLinear
from dropout_core.nn.mlp import MLP, HiddenLayer
from dropout_core.seeds import generator


@dataclass(frozen=True)
class Uncertainty:
    """Statistics over S samples, or members, of probabilities or of the values of a regression.

    Mean and standard deviation are (N, C). `entropy` (N) is that of the mean prediction, the total
    uncertainty; `mutual_information` (N) is the part of it that more data could remove. Both are in
    nats, summed over labels, and None for a regression. Gal and Ghahramani 2016, section 4; Gal
    2016, section 3.3.
    """

    mean: Tensor
    standard_deviation: Tensor
    entropy: Tensor | None
    mutual_information: Tensor | None


class SubNetworks:
    """The networks that a network's dropout samples: each a function of a seed and a number.

    Only dropout is random: batch norm uses its fixed statistics, and no category becomes unknown.
    Sub-networks share the weights of `network`, do not change it, and ignore its mode, so `network`
    can be used meanwhile.
    """

    def __init__(self, network: MLP) -> None:
        shared = (*network.parameters(), *network.buffers())
        self._network = copy.deepcopy(network, {id(tensor): tensor for tensor in shared}).eval()

    @property
    def differ(self) -> bool:
        """Return whether dropout has anything to sample: without it all sub-networks are equal."""
        modules = [self._network.input_dropout]
        for layer in cast(Iterable[HiddenLayer], self._network.hidden):
            modules += [layer.linear, layer.dropout]
        if self._network.inputs is not None and len(self._network.inputs.embeddings):
            modules.append(self._network.inputs.dropout)
        return any(isinstance(module, STOCHASTIC) and module.p > 0 for module in modules)

    def sample(self, *, seed: int, number: int) -> nn.Sequential:
        """Return sub-network `number` of `seed`, in which nothing is random: (N, F) -> (N, C).

        Its layers are those of the network in eval mode and have the same shapes, with fixed masks
        in between, which differ between members, whose outputs are averaged; DropConnect becomes a
        plain linear layer. The masks are drawn on the CPU, so they are the same for every device.
        """
        return nn.Sequential(*_layers(self._network, generator(seed, "sub-network", number)))


@torch.inference_mode()
def monte_carlo(
    network: MLP, features: Tensor, *, task: Task, num_samples: int, seed: int
) -> Uncertainty:
    """Summarise `num_samples` sub-networks: features (N, F) -> mean and deviation (N, C).

    A row's masks do not depend on other rows. Its rounding may; `Predictor.monte_carlo` computes in
    tiles, so that it does not. Raises ValueError unless there are at least two samples.
    """
    samples = (
        as_predicted(outputs_NC.double(), task)
        for outputs_NC in _sampled(network, features, num_samples=num_samples, seed=seed)
    )
    return summarise(samples, task=task)


def model_average(network: MLP, features: Tensor, *, num_samples: int, seed: int) -> Tensor:
    """Return the mean class probabilities of sub-networks: (N, F) -> (N, C) float64.

    Weight scaling, the ordinary eval mode, approximates this. Raises ValueError unless there are at
    least two samples. Srivastava et al. 2014, section 7.5.
    """
    averaged = monte_carlo(network, features, task="multiclass", num_samples=num_samples, seed=seed)
    return averaged.mean


@torch.inference_mode()
def sample_outputs(network: MLP, features: Tensor, *, num_samples: int, seed: int) -> Tensor:
    """Return the outputs of `num_samples` sub-networks: (N, F) -> (S, N, C)."""
    return torch.stack(list(_sampled(network, features, num_samples=num_samples, seed=seed)))


def summarise(samples: Iterable[Tensor], *, task: Task) -> Uncertainty:
    """Summarise probabilities, or values of a regression: S samples (N, C) float64.

    A row's bits depend on no other row: torch sums a column in an order that depends on the number
    of columns, so samples are added one by one, elementwise (Welford 1962). For equal samples the
    mean is exactly their value and the deviation is 0. Raises ValueError unless there are at least
    two.
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
    # Rounding must not make it negative.
    return Uncertainty(mean_NC, deviation_NC, total_N, (total_N - entropy_N).clamp_min(0.0))


def joined(parts: Sequence[Uncertainty]) -> Uncertainty:
    """Return the uncertainty of all rows from that of parts of them, at least one."""
    return Uncertainty(
        torch.cat([part.mean for part in parts]),
        torch.cat([part.standard_deviation for part in parts]),
        _joined([part.entropy for part in parts]),
        _joined([part.mutual_information for part in parts]),
    )


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.cat(known) if known else None


def _sampled(network: MLP, features: Tensor, *, num_samples: int, seed: int) -> Iterator[Tensor]:
    sub_networks = SubNetworks(network)
    for number in range(num_samples):
        yield sub_networks.sample(seed=seed, number=number)(features)


def _entropy(probabilities: Tensor, task: Task) -> Tensor:
    """Return the entropy over C classes, or its sum over C labels, in nats: (N, C) -> (N)."""
    terms_NC = torch.special.entr(probabilities)
    if task == "multilabel":
        terms_NC = terms_NC + torch.special.entr(1.0 - probabilities)
    entropy_N: Tensor = terms_NC.sum(dim=1)
    return entropy_N


def _layers(network: MLP, stream: Generator) -> Iterator[nn.Module]:
    """Yield the layers of the sub-network that is drawn from `stream`, from input to output."""
    like, width, members = network.output.weight, network.in_features, network.config.members
    if network.inputs is not None:
        yield network.inputs
        yield _Noise(_embedding_factors(network.inputs, stream).to(like))
        width = network.inputs.out_features
    yield from (part for part in (network.scaling, network.for_each) if part is not None)
    yield _Noise(_factors(network.input_dropout, width, stream, members=members).to(like))
    for layer in cast(Iterable[HiddenLayer], network.hidden):
        linear = layer.linear
        yield linear.sample(stream) if isinstance(linear, DropConnectLinear) else linear
        if layer.norm is not None:
            yield layer.norm
        yield layer.activation
        yield _Noise(_factors(layer.dropout, layer.num_units, stream, members=members).to(like))
    yield network.output
    if network.average is not None:
        yield network.average


def _factors(dropout: nn.Module, num_units: int, stream: Generator, *, members: int = 1) -> Tensor:
    """Draw the factors of the units: what `dropout` makes of ones, (1, H).

    Each of k members has its own: (k, 1, H).
    """
    drawing = copy.copy(dropout).train()  # the original may be in use
    drawing.generator = stream  # type: ignore[assignment]
    shape = (1, num_units) if members == 1 else (members, 1, num_units)
    factors: Tensor = drawing(torch.ones(shape))
    return factors


def _embedding_factors(inputs: InputLayer, stream: Generator) -> Tensor:
    """Draw the factors of the inputs: only embeddings, the last ones, are dropped. (1, W)"""
    num_embedded = sum(cast(nn.Embedding, table).embedding_dim for table in inputs.embeddings)
    others = torch.ones(1, inputs.out_features - num_embedded)
    return torch.cat([others, _factors(inputs.dropout, num_embedded, stream)], dim=1)


class _Noise(nn.Module):
    """Multiply every row by the same factors: (N, H) -> (N, H), or (k, N, H) -> (k, N, H)."""

    def __init__(self, factors: Tensor) -> None:
        super().__init__()
        self.factors = factors

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factors.expand_as(x)  # refuses x of one column, which * would broadcast
