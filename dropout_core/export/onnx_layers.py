"""Preprocessing and network as ONNX: each function adds what modules compute in eval mode.

Shapes: N rows, V values, I values with an indicator, W inputs that stand for categories.
"""

from collections.abc import Sequence

import numpy as np
from torch import nn

from dropout_core.config import PreprocessingConfig
from dropout_core.export.onnx_graph import Graph
from dropout_core.model.preprocessing import (
    NUM_QUANTILES,
    Preprocessing,
    QuantileScale,
    StandardScale,
)
from dropout_core.nn.inputs import CategoryInputs, category_widths
from dropout_core.nn.layers import Dropout
from dropout_core.nn.masks import keep_probability
from dropout_core.nn.mlp import MLP, HiddenLayer

_TOP = NUM_QUANTILES - 1
_HALVES = (128, 64, 32, 16, 8, 4, 2, 1, 1)  # in which the indices from 0 to _TOP are searched
_ELEMENTWISE = {"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid"}


def add_preprocessing(graph: Graph, values: str, preprocessing: Preprocessing) -> str:
    """(N, V) float64, NaN where a value is missing -> (N, V + I) float32, scaled in float64."""
    missing = graph.add("IsNaN", values)
    filled = graph.add("Where", missing, preprocessing.fill, values)
    if isinstance(preprocessing.scale, QuantileScale):
        scaled = _add_quantile_scale(graph, filled, preprocessing.scale)
    else:
        scaled = _add_standard_scale(graph, filled, preprocessing.scale)
    scaled = graph.cast(scaled, np.float32)
    if len(preprocessing.indicated) == 0:
        return scaled
    indicators = graph.add("Gather", missing, preprocessing.indicated, axis=1)
    return graph.joined([scaled, graph.cast(indicators, np.float32)])


def _add_standard_scale(graph: Graph, values: str, scale: StandardScale) -> str:
    centred = graph.add("Sub", graph.add("Mul", values, 0.5), 0.5 * scale.mean)
    return graph.add("Div", centred, 0.5 * scale.deviation)


def _add_quantile_scale(graph: Graph, values: str, scale: QuantileScale) -> str:
    """The steps of `QuantileScale.forward`, and the searches that it leaves to torch."""
    quantiles = graph.constant(scale.quantiles.flatten())
    starts = NUM_QUANTILES * np.arange(len(scale.quantiles))
    zeros = graph.cast(graph.add("IsNaN", values), np.int64)  # none is missing any more
    first = graph.add("Add", zeros, starts)  # the index of each value's first quantile
    after_first = graph.add("Add", first, 1)
    above = _add_search(graph, quantiles, "Less", values, first, zeros)
    below = _add_search(graph, quantiles, "LessOrEqual", values, after_first, zeros)
    low = graph.add("Gather", quantiles, graph.add("Add", first, below))
    high = graph.add("Gather", quantiles, graph.add("Add", first, above))
    half_low, half_high = graph.add("Mul", low, 0.5), graph.add("Mul", high, 0.5)
    beyond_low = graph.add("Sub", graph.add("Mul", values, 0.5), half_low)
    share = graph.add("Div", beyond_low, graph.add("Sub", half_high, half_low))
    below, above = graph.cast(below, np.float64), graph.cast(above, np.float64)
    between = graph.add("Add", below, share)
    middle = graph.add("Mul", graph.add("Add", below, above), 0.5)
    rank = graph.add("Where", graph.add("Greater", high, low), between, middle)
    return _add_interpolation(graph, rank, scale)


def _add_search(
    graph: Graph, quantiles: str, comparison: str, values: str, start: str, zeros: str
) -> str:
    """How many of the `_TOP` quantiles from `start` on compare so: (N, V) -> (N, V) int64."""
    count = zeros
    for half in _HALVES:
        last = graph.add("Add", count, half - 1)
        quantile = graph.add("Gather", quantiles, graph.add("Add", start, last))
        is_more = graph.cast(graph.add(comparison, quantile, values), np.int64)
        count = graph.add("Add", count, graph.add("Mul", is_more, half))
    return count


def _add_interpolation(graph: Graph, rank: str, scale: QuantileScale) -> str:
    scores = graph.constant(scale.scores)
    floor = graph.add("Clip", graph.add("Floor", rank), 0.0, _TOP - 1.0)
    share = graph.add("Sub", rank, floor)
    index = graph.cast(floor, np.int64)
    of_floor = graph.add("Mul", graph.add("Gather", scores, index), graph.add("Sub", 1.0, share))
    of_next = graph.add("Gather", scores, graph.add("Add", index, 1))
    return graph.add("Add", of_floor, graph.add("Mul", of_next, share))


def add_categories(
    graph: Graph, codes: Sequence[str], inputs: CategoryInputs, config: PreprocessingConfig
) -> str:
    """Codes (N) int64 of each feature -> (N, W) float32: one-hot ones, then embeddings."""
    embeddings = iter(inputs.embeddings)
    widths = category_widths(config, inputs.cardinalities)
    one_hot, embedded = [], []
    for code, cardinality, width in zip(codes, inputs.cardinalities, widths, strict=True):
        if width == cardinality:
            off_and_on = np.array([0, 1], dtype=np.float32)
            one_hot.append(graph.add("OneHot", code, cardinality, off_and_on, axis=1))
        else:
            table = next(embeddings).get_parameter("weight")
            embedded.append(graph.add("Gather", table, code, axis=0))
    return graph.joined(one_hot + embedded)


def add_network(graph: Graph, x: str, network: MLP) -> str:
    """What comes after the categories have become inputs: (N, inputs) -> (N, C), both float32."""
    x = _add_dropout(graph, x, network.input_dropout)
    for layer in network.hidden:
        assert isinstance(layer, HiddenLayer)
        x = _add_linear(graph, x, layer.linear)
        if layer.norm is not None:
            x = _add_norm(graph, x, layer.norm)
        x = _add_activation(graph, x, layer)
        x = _add_dropout(graph, x, layer.dropout)
    return _add_linear(graph, x, network.output)


def _add_linear(graph: Graph, x: str, linear: nn.Linear) -> str:
    bias = [] if linear.bias is None else [linear.bias]
    return graph.add("Gemm", x, linear.weight, *bias, transB=1)


def _add_norm(graph: Graph, x: str, norm: nn.BatchNorm1d) -> str:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    statistics = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    return graph.add("BatchNormalization", x, *statistics, epsilon=norm.eps)


def _add_activation(graph: Graph, x: str, layer: HiddenLayer) -> str:
    match layer.activation_name:
        case "maxout":
            pieces = graph.add("Reshape", x, np.array([0, layer.num_units, layer.num_pieces]))
            return graph.add("ReduceMax", pieces, axes=[2], keepdims=0)
        case "gelu":
            return _add_gelu(graph, x)
        case name:
            return graph.add(_ELEMENTWISE[name], x)


def _add_gelu(graph: Graph, x: str) -> str:
    """x / 2 (1 + erf(x / sqrt(2))): an operator of its own came to ONNX later."""
    one, half, root = np.array([1, 0.5, 0.5**0.5], dtype=np.float32)
    doubled = graph.add("Add", graph.add("Erf", graph.add("Mul", x, root)), one)
    return graph.add("Mul", graph.add("Mul", x, half), doubled)


def _add_dropout(graph: Graph, x: str, dropout: nn.Module) -> str:
    """All kinds are the identity, but for `classic` scaling."""
    if not isinstance(dropout, Dropout) or dropout.scaling == "inverted":
        return x
    return graph.add("Mul", x, np.array(keep_probability(dropout.p), dtype=np.float32))
