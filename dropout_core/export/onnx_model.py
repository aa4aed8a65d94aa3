"""Export a model, including its preprocessing, as an ONNX file.

The graph is built operator by operator, so it does not change with an exporter's version.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dropout_core.errors import ModelError

try:
    from onnx import ModelProto, TensorProto, ValueInfoProto, helper
    from onnx.reference import ReferenceEvaluator
except ModuleNotFoundError as error:
    detail = "an ONNX file requires the package onnx: run `pip install '.[export]'`"
    raise ModelError(detail) from error

from dropout_core.data.categories import CategoricalFeature
from dropout_core.export.check import Check
from dropout_core.export.onnx_graph import ML_DOMAIN, Graph
from dropout_core.export.onnx_inputs import Inputs
from dropout_core.export.onnx_layers import add_inputs, add_network, add_preprocessing
from dropout_core.model.saved_model import Manifest, TabularModel

# Runtimes of 2022 and later support these versions.
_OPSETS = {"": 17, ML_DOMAIN: 3}
_IR_VERSION = 8

_PROBABILITIES, _PREDICTION, _VALUES = "probabilities", "prediction", "values"
_QUANTILES = "quantiles"
_LABEL_TYPES = {
    bool: TensorProto.BOOL,
    int: TensorProto.INT64,
    float: TensorProto.DOUBLE,
    str: TensorProto.STRING,
}


def write_onnx(model: TabularModel, manifest: Manifest, target: Path, *, check: Check) -> None:
    """Write `onnx_model`. Raises ModelError if it does not answer as the service does."""
    exported, inputs = onnx_model(model, manifest)
    answer = _run(exported, inputs.feed(check.examples.cells))
    outputs = torch.from_numpy(answer[next(iter(answer))])
    check.require_same(outputs)
    if manifest.classes is not None:
        _require_labels(check, outputs, answer[_PREDICTION])
    target.write_bytes(exported.SerializeToString(deterministic=True))


def onnx_model(model: TabularModel, manifest: Manifest) -> tuple[ModelProto, Inputs]:
    """Return the ONNX model and its inputs.

    Outputs: `values` (N, T) float64 of a regression, after its `quantiles` (N, T * Q) if it has
    them; else `probabilities` (N, C) float64 and
    `prediction`, the label (N) or, for `multilabel`, whether each label holds (N, C).
    """
    taken = {_PROBABILITIES, _PREDICTION, _VALUES}
    if manifest.quantiles is not None:
        taken.add(_QUANTILES)
    inputs = Inputs.of(manifest.encoder, taken=taken)
    graph = Graph(taken)
    outputs = _add_outputs(graph, _add_model(graph, inputs, model, manifest), model, manifest)
    domains = _OPSETS if manifest.encoder.cardinalities else {"": _OPSETS[""]}
    exported = helper.make_model(
        graph.finish(inputs.declare(), outputs, doc_string=_description(manifest)),
        opset_imports=[helper.make_opsetid(domain, n) for domain, n in domains.items()],
        ir_version=_IR_VERSION,
        producer_name="dropout-service",
    )
    helper.set_model_props(exported, _metadata(manifest, inputs))
    return exported, inputs


def _add_model(graph: Graph, inputs: Inputs, model: TabularModel, manifest: Manifest) -> str:
    """Add preprocessing and network, and return the network's outputs: (N, C) float64."""
    values, codes = inputs.add(graph)
    if values is not None:
        values = add_preprocessing(graph, values, model.preprocessing)
    inputs_of_network = model.network.inputs
    if inputs_of_network is not None:
        x = add_inputs(graph, values, codes, inputs_of_network, manifest.preprocessing)
    else:
        assert values is not None  # a model without values has categories
        x = values
    return graph.cast(add_network(graph, x, model.network), np.float64)


def _add_outputs(
    graph: Graph, outputs: str, model: TabularModel, manifest: Manifest
) -> list[ValueInfoProto]:
    if manifest.classes is None:
        scaled = graph.add("Mul", outputs, model.target_scale)
        if manifest.quantiles is not None:
            return _add_quantiles(graph, graph.add("Add", scaled, model.target_mean), manifest)
        graph.add("Add", scaled, model.target_mean, output=_VALUES)
        return [_declared(_VALUES, TensorProto.DOUBLE, manifest.num_outputs)]
    if (model.target_scale != 1).any():  # by the temperature
        outputs = graph.add("Mul", outputs, model.target_scale)
    probabilities = _declared(_PROBABILITIES, TensorProto.DOUBLE, manifest.num_outputs)
    if manifest.task == "multilabel":
        graph.add("Sigmoid", outputs, output=_PROBABILITIES)
        graph.add("Greater", _PROBABILITIES, 0.5, output=_PREDICTION)
        return [probabilities, _declared(_PREDICTION, TensorProto.BOOL, manifest.num_outputs)]
    graph.add("Softmax", outputs, axis=1, output=_PROBABILITIES)
    best = graph.add("ArgMax", _PROBABILITIES, axis=1, keepdims=0)
    label_type = type(manifest.classes[0])
    labels = np.array(manifest.classes, dtype=object if label_type is str else None)
    graph.add("Gather", labels, best, output=_PREDICTION)
    return [probabilities, _declared(_PREDICTION, _LABEL_TYPES[label_type])]


def _add_quantiles(graph: Graph, outputs: str, manifest: Manifest) -> list[ValueInfoProto]:
    """Sort the quantiles of each target, and choose the values among them."""
    num_targets, num_quantiles = len(manifest.targets), manifest.num_quantiles
    by_target = graph.add("Reshape", outputs, np.array([-1, num_quantiles]))
    number = np.array([num_quantiles])
    ascending = graph.add("TopK", by_target, number, axis=1, largest=0, num_unused=1)
    graph.add("Reshape", ascending, np.array([-1, manifest.num_outputs]), output=_QUANTILES)
    columns = np.arange(manifest.num_outputs)[manifest.of_values]
    graph.add("Gather", _QUANTILES, columns, axis=1, output=_VALUES)
    return [
        _declared(_QUANTILES, TensorProto.DOUBLE, manifest.num_outputs),
        _declared(_VALUES, TensorProto.DOUBLE, num_targets),
    ]


def _declared(name: str, elem_type: int, *width: int) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, elem_type, ["N", *width])


def _description(manifest: Manifest) -> str:
    outputs = "values" if manifest.classes is None else "class probabilities"
    return f"{outputs} of {', '.join(manifest.targets)}; dropout is off; preprocessing is included"


def _metadata(manifest: Manifest, inputs: Inputs) -> dict[str, str]:
    """Return the metadata as strings; lists and mappings are JSON."""
    encoder = manifest.encoder
    categories = {
        feature.name: feature.categories
        for feature in encoder.features
        if isinstance(feature, CategoricalFeature)
    }
    lists = {
        "targets": manifest.targets,
        "classes": manifest.classes,
        **({} if manifest.quantiles is None else {"quantile_levels": manifest.quantiles}),
        "features": manifest.features,
        "inputs": inputs.names,
        "categories": categories,
    }
    return {
        "task": manifest.task,
        "fingerprint": manifest.trained_on,
        "weights_sha256": manifest.weights_sha256,
        **{name: json.dumps(value, ensure_ascii=False) for name, value in lists.items()},
    }


def _run(model: ModelProto, feed: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Run the model with ONNX's reference implementation, and return its outputs by name."""
    names = [output.name for output in model.graph.output]
    with np.errstate(all="ignore"):  # equal quantiles, and values beyond float32, are expected
        results = ReferenceEvaluator(model).run(names, feed)
    return dict(zip(names, results, strict=True))


def _require_labels(check: Check, outputs: torch.Tensor, labels: NDArray[Any]) -> None:
    """Raise ModelError unless the labels are the service's for these outputs."""
    values = check.predictor.predictions(outputs).values
    expected = [list(row.values()) if isinstance(row, dict) else row for row in values]
    if labels.tolist() != expected:
        raise ModelError("the exported file predicts other labels; it is not sent")
