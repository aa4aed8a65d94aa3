"""Write a model's predictions as tensors of the protocol.

Shapes: N rows, C classes or values, T targets.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from app.http.inference_errors import bad_request
from app.open_inference.tensors import BYTES, packed
from dropout_core.model.saved_model import Description

PREDICTION = "prediction"
PROBABILITIES = "probabilities"
QUANTILES = "quantiles"

_DTYPES = {"BOOL": np.bool_, "INT64": np.int64, "FP64": np.float64, BYTES: np.object_}


@dataclass(frozen=True)
class OutputTensor:
    """`shape` is without the rows: () stands for (N)."""

    name: str
    datatype: str
    shape: tuple[int, ...]


def output_tensors(description: Description) -> list[OutputTensor]:
    """Return all outputs of a model, in the order of an answer."""
    num_outputs, num_targets = description.num_outputs, len(description.targets)
    probabilities = OutputTensor(PROBABILITIES, "FP64", (num_outputs,))
    match description.task:
        case "regression":
            shape = () if num_targets == 1 else (num_targets,)
            prediction = OutputTensor(PREDICTION, "FP64", shape)
            if description.quantiles is None:
                return [prediction]
            return [prediction, OutputTensor(QUANTILES, "FP64", (num_outputs,))]
        case "multilabel":
            return [probabilities, OutputTensor(PREDICTION, "BOOL", (num_outputs,))]
        case _:
            assert description.classes is not None
            return [probabilities, OutputTensor(PREDICTION, _datatype(description.classes), ())]


def require(description: Description, names: Collection[str] | None) -> None:
    """Raise RequestError (400) for an output that the model does not have."""
    if names is None:
        return
    known = [output.name for output in output_tensors(description)]
    for name in names:
        if name not in known:
            raise bad_request(f"output {name!r}: the model has {' and '.join(known)}")


def answer(
    description: Description,
    outputs: NDArray[np.float64],
    wanted: Mapping[str, bool] | None,
    *,
    binary: bool,
    head: Mapping[str, Any],
) -> tuple[bytes, int | None]:
    """Return the body, and the length of its JSON if binary data follow it.

    The JSON has `head` and the outputs (N, C). `wanted` maps the requested outputs to whether they
    are binary data; None stands for every output, as binary data if `binary`.
    """
    tensors = {tensor.name: tensor for tensor in output_tensors(description)}
    wanted = dict.fromkeys(tensors, binary) if wanted is None else wanted
    entries, contents = [], []
    for name, is_binary in wanted.items():
        tensor, values = tensors[name], _values(description, tensors[name], outputs)
        entry: dict[str, Any] = {
            "name": name,
            "datatype": tensor.datatype,
            "shape": [len(outputs), *tensor.shape],
        }
        if is_binary:
            content = _content(values)
            entry["parameters"] = {"binary_data_size": len(content)}
            contents.append(content)
        else:
            entry["data"] = values.tolist() if values.dtype == object else values.ravel()
        entries.append(entry)
    json = orjson.dumps({**head, "outputs": entries}, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"".join([json, *contents]), len(json) if contents else None


def _values(
    description: Description, tensor: OutputTensor, outputs: NDArray[np.float64]
) -> NDArray[Any]:
    """Return the values of one output; texts are objects."""
    values: NDArray[Any]
    if tensor.name in (PROBABILITIES, QUANTILES):
        values = outputs
    elif description.task == "regression":
        values = np.ascontiguousarray(outputs[:, description.of_values])
    elif description.task == "multilabel":
        values = outputs > 0.5
    else:
        classes: NDArray[Any] = np.array(description.classes, dtype=_DTYPES[tensor.datatype])
        values = classes[outputs.argmax(axis=1)]
    return values


def _content(values: NDArray[Any]) -> bytes:
    if values.dtype == object:
        return b"".join(packed(text.encode() for text in values))
    return values.tobytes()


def _datatype(classes: Sequence[bool | int | float | str]) -> str:
    types = set(map(type, classes))
    if types == {bool}:
        return "BOOL"
    if types == {int}:
        return "INT64"
    return "FP64" if types <= {int, float} else BYTES
