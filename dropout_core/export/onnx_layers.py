"""Add preprocessing and network to an ONNX graph, as the modules compute in eval mode.

Shapes: N rows, V values, I values with an indicator, W inputs of the first layer, H units, C
outputs; of embedded numbers: E entries of an encoding, D inputs that each becomes.
"""

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from dropout_core.config import PreprocessingConfig
from dropout_core.export.onnx_graph import Graph
from dropout_core.model.preprocessing import (
    NUM_QUANTILES,
    ROBUST_BOUND,
    ROBUST_LIMIT,
    Preprocessing,
    QuantileScale,
    RobustScale,
)
from dropout_core.nn.activations import ParametricActivation
from dropout_core.nn.inputs import InputLayer, category_widths
from dropout_core.nn.layers import Dropout
from dropout_core.nn.masks import keep_probability
from dropout_core.nn.members import BackboneLinear, MemberAverage, MemberLinear
from dropout_core.nn.mlp import MLP, HiddenLayer, Linear
from dropout_core.nn.numbers import LinearOfEach, PeriodicEmbedding, PiecewiseLinearEmbedding

_TOP = NUM_QUANTILES - 1
_STEPS = (128, 64, 32, 16, 8, 4, 2, 1, 1)  # of the binary search for an index from 0 to _TOP
_ELEMENTWISE = {"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid", "selu": "Selu"}


def add_preprocessing(graph: Graph, values: str, preprocessing: Preprocessing) -> str:
    """Add imputing, scaling in float64 and indicators: (N, V) float64 -> (N, V + I) float32."""
    missing = graph.add("IsNaN", values)
    filled = graph.add("Where", missing, preprocessing.fill, values)
    if isinstance(preprocessing.scale, QuantileScale):
        scaled = _add_quantile_scale(graph, filled, preprocessing.scale)
    elif isinstance(preprocessing.scale, RobustScale):
        scaled = _add_robust_scale(graph, filled, preprocessing.scale)
    else:
        scale = preprocessing.scale
        scaled = _add_standardised(graph, filled, scale.mean, scale.deviation)
    scaled = graph.cast(scaled, np.float32)
    if len(preprocessing.indicated) == 0:
        return scaled
    indicators = graph.add("Gather", missing, preprocessing.indicated, axis=1)
    return graph.concatenate([scaled, graph.cast(indicators, np.float32)])


def _add_standardised(graph: Graph, values: str, mean: Tensor, scale: Tensor) -> str:
    centred = graph.add("Sub", graph.add("Mul", values, 0.5), 0.5 * mean)
    return graph.add("Div", centred, 0.5 * scale)


def _add_robust_scale(graph: Graph, values: str, scale: RobustScale) -> str:
    x = _add_standardised(graph, values, scale.median, scale.spread)
    x = graph.add("Clip", x, -ROBUST_LIMIT, ROBUST_LIMIT)
    share = graph.add("Div", x, ROBUST_BOUND)
    root = graph.add("Sqrt", graph.add("Add", graph.add("Mul", share, share), 1.0))
    return graph.add("Div", x, root)


def _add_quantile_scale(graph: Graph, values: str, scale: QuantileScale) -> str:
    """Add the steps of `QuantileScale.forward`, including the searches that it leaves to torch."""
    quantiles = graph.constant(scale.quantiles.flatten())
    starts = NUM_QUANTILES * np.arange(len(scale.quantiles))
    zeros = graph.cast(graph.add("IsNaN", values), np.int64)  # the values are imputed already
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
    """Count the quantiles, of `_TOP` from `start`, that satisfy it: (N, V) -> (N, V) int64."""
    count = zeros
    for step in _STEPS:
        last = graph.add("Add", count, step - 1)
        quantile = graph.add("Gather", quantiles, graph.add("Add", start, last))
        is_more = graph.cast(graph.add(comparison, quantile, values), np.int64)
        count = graph.add("Add", count, graph.add("Mul", is_more, step))
    return count


def _add_interpolation(graph: Graph, rank: str, scale: QuantileScale) -> str:
    scores = graph.constant(scale.scores)
    floor = graph.add("Clip", graph.add("Floor", rank), 0.0, _TOP - 1.0)
    share = graph.add("Sub", rank, floor)
    index = graph.cast(floor, np.int64)
    floor_part = graph.add("Mul", graph.add("Gather", scores, index), graph.add("Sub", 1.0, share))
    next_part = graph.add("Gather", scores, graph.add("Add", index, 1))
    return graph.add("Add", floor_part, graph.add("Mul", next_part, share))


def add_inputs(
    graph: Graph,
    values: str | None,
    codes: Sequence[str],
    inputs: InputLayer,
    config: PreprocessingConfig,
) -> str:
    """Add the input layer: values (N, V + I) and codes (N) int64 -> (N, W) float32."""
    parts = []
    if values is not None and inputs.numbers is not None:
        numbers = graph.add("Gather", values, inputs.embedded, axis=1)
        parts.append(_add_numbers(graph, numbers, inputs.numbers))
        values = graph.add("Gather", values, inputs.passed, axis=1) if len(inputs.passed) else None
    if values is not None:
        parts.append(values)
    return graph.concatenate(parts + _add_categories(graph, codes, inputs, config))


def _add_numbers(
    graph: Graph, x: str, embedding: PeriodicEmbedding | PiecewiseLinearEmbedding
) -> str:
    """Add the embedding of numbers: (N, V) -> (N, V * D)."""
    x_V1N = graph.add("Unsqueeze", graph.add("Transpose", x, perm=[1, 0]), np.array([1]))
    if isinstance(embedding, PeriodicEmbedding):
        frequencies = (2.0 * math.pi) * embedding.frequencies
        angles = graph.add("Mul", frequencies[:, :, None], x_V1N)
        angles = graph.add("Add", angles, embedding.phases[:, :, None])
        learned = _add_linear_of_each(graph, graph.add("Cos", angles), embedding.linear)
        embedded = graph.add("Concat", x_V1N, learned, axis=1)
    else:
        above = graph.add("Sub", x_V1N, embedding.lower[:, :, None])
        position = graph.add("Div", above, embedding.width[:, :, None])
        bounds = np.array(0.0, dtype=np.float32), np.array(1.0, dtype=np.float32)
        position = graph.add("Clip", position, *bounds)
        learned = _add_linear_of_each(graph, position, embedding.linear)
        slope = graph.add("Mul", embedding.slope[:, :, None], x_V1N)
        embedded = graph.add("Add", learned, slope)
    by_row = graph.add("Transpose", embedded, perm=[2, 0, 1])
    return graph.add("Reshape", by_row, np.array([0, embedding.num_numbers * embedding.dim]))


def _add_linear_of_each(graph: Graph, encoding: str, linear: LinearOfEach) -> str:
    """Add a linear map for each number: (V, E, N) -> (V, D, N)."""
    product = graph.add("MatMul", linear.weight, encoding)
    return graph.add("Add", product, linear.bias[:, :, None])


def _add_categories(
    graph: Graph, codes: Sequence[str], inputs: InputLayer, config: PreprocessingConfig
) -> list[str]:
    """Add one-hot columns, then embeddings: codes (N) int64 of each feature -> (N, *) float32."""
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
    return one_hot + embedded


def add_network(graph: Graph, x: str, network: MLP) -> str:
    """Add the layers after the input layer: (N, W) float32 -> (N, C).

    With k members the layers between are (k, N, H): products broadcast the inputs.
    """
    if network.scaling is not None:
        x = graph.add("Mul", x, network.scaling.weight)
    x = _add_dropout(graph, x, network.input_dropout)
    for layer in network.hidden:
        assert isinstance(layer, HiddenLayer)
        x = _add_linear(graph, x, layer.linear)
        if layer.norm is not None:
            x = _add_norm(graph, x, layer.norm)
        x = _add_activation(graph, x, layer)
        x = _add_dropout(graph, x, layer.dropout)
    outputs = _add_linear(graph, x, network.output)
    return outputs if network.average is None else _add_average(graph, outputs, network.average)


def _add_linear(graph: Graph, x: str, linear: Linear) -> str:
    match linear:
        case MemberLinear():
            return graph.add("Add", graph.add("MatMul", x, linear.weight.mT), linear.bias)
        case BackboneLinear():
            scaled = graph.add("Mul", x, linear.scale_in)
            products = graph.add("MatMul", scaled, linear.weight.mT)
            return graph.add("Add", graph.add("Mul", products, linear.scale_out), linear.bias)
        case _:
            bias = [] if linear.bias is None else [linear.bias]
            return graph.add("Gemm", x, linear.weight, *bias, transB=1)


def _add_average(graph: Graph, outputs: str, average: MemberAverage) -> str:
    """Add the average over the members: (k, N, C) float32 -> (N, C) float64."""
    outputs = graph.cast(outputs, np.float64)
    match average.average:
        case "values":
            return graph.add("ReduceMean", outputs, axes=[0], keepdims=0)
        case "probabilities":
            of_members = graph.add("Softmax", outputs, axis=2)
            return graph.add("Log", graph.add("ReduceMean", of_members, axes=[0], keepdims=0))
        case "label_probabilities":
            # `Sigmoid` and 1 - mean have no digits left for what is almost sure.
            sides = []
            for exponent in (graph.add("Neg", outputs), outputs):
                divisor = graph.add("Add", graph.add("Exp", exponent), 1.0)
                of_members = graph.add("Reciprocal", divisor)
                mean = graph.add("ReduceMean", of_members, axes=[0], keepdims=0)
                sides.append(graph.add("Log", mean))
            return graph.add("Sub", *sides)


def _add_norm(graph: Graph, x: str, norm: nn.BatchNorm1d) -> str:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    statistics = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    return graph.add("BatchNormalization", x, *statistics, epsilon=norm.eps)


def _add_activation(graph: Graph, x: str, layer: HiddenLayer) -> str:
    activated = _add_function(graph, x, layer)
    if not isinstance(layer.activation, ParametricActivation):
        return activated
    more = graph.add("Mul", graph.add("Sub", activated, x), layer.activation.mix)
    return graph.add("Add", x, more)


def _add_function(graph: Graph, x: str, layer: HiddenLayer) -> str:
    match layer.activation_name:
        case "maxout":
            rows = [0] if isinstance(layer.linear, nn.Linear) else [0, 0]
            pieces = graph.add("Reshape", x, np.array([*rows, layer.num_units, layer.num_pieces]))
            return graph.add("ReduceMax", pieces, axes=[-1], keepdims=0)
        case "gelu":
            return _add_gelu(graph, x)
        case "mish":
            return _add_mish(graph, x)
        case name:
            return graph.add(_ELEMENTWISE[name], x)


def _add_gelu(graph: Graph, x: str) -> str:
    """Add x / 2 (1 + erf(x / sqrt(2))): this opset has no operator for it."""
    one, half, root = np.array([1, 0.5, 0.5**0.5], dtype=np.float32)
    doubled = graph.add("Add", graph.add("Erf", graph.add("Mul", x, root)), one)
    return graph.add("Mul", graph.add("Mul", x, half), doubled)


def _add_mish(graph: Graph, x: str) -> str:
    """Add x - 2 x / ((1 + e^x)^2 + 1), as `activations.mish` computes it."""
    one, two = np.array([1, 2], dtype=np.float32)
    above = graph.add("Add", graph.add("Exp", x), one)
    divisor = graph.add("Add", graph.add("Mul", above, above), one)
    return graph.add("Sub", x, graph.add("Div", graph.add("Mul", x, two), divisor))


def _add_dropout(graph: Graph, x: str, dropout: nn.Module) -> str:
    """Add `classic` scaling; every other dropout is the identity in eval mode."""
    if not isinstance(dropout, Dropout) or dropout.scaling == "inverted":
        return x
    return graph.add("Mul", x, np.array(keep_probability(dropout.p), dtype=np.float32))
