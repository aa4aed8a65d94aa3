"""Parse the body of an inference request.

Raises RequestError or TooManyRows, which name the field that is wrong.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from app.http.bodies import parse_json
from app.http.inference_errors import bad_request
from app.open_inference import tensors
from app.open_inference.tensors import DATATYPES, Tensor
from app.serving.instances import require_row_count
from app.serving.json_views import NotSmall, is_array, is_object, plain_if_small

_MISSING = ("refuse", "impute")
_MAX_TENSORS = 100_000  # one for each column of the widest table


@dataclass(frozen=True)
class InferRequest:
    """`outputs` maps the requested outputs, in order, to whether they are binary data.

    None stands for every output, as binary data if `binary_output`.
    """

    id: str | None
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, bool] | None
    binary_output: bool
    refuse_missing: bool


def parse(body: bytes, header_length: int | None) -> InferRequest:
    """Parse JSON, or `header_length` bytes of JSON and the binary data of the inputs after it."""
    if header_length is not None and header_length > len(body):
        raise bad_request(
            f"Inference-Header-Content-Length is {header_length}, the body has {len(body)} bytes"
        )
    content = memoryview(body)
    fields = _fields(
        parse_json(content[:header_length]),
        "the request",
        known=("id", "parameters", "inputs", "outputs"),
    )
    id_ = fields.get("id")
    if not isinstance(id_, str | None):
        raise bad_request("`id` has to be a string")
    parameters = _parameters(fields, "the request")
    for name in ("sequence_id", "sequence_start", "sequence_end"):
        if parameters.get(name):
            raise bad_request(f"parameter {name!r}: sequences of requests are not supported")
    missing = parameters.get("missing", _MISSING[0])
    if missing not in _MISSING:
        raise bad_request("parameter 'missing' has to be 'refuse' or 'impute'")
    binary_output = _flag(parameters, "binary_data_output", default=False)
    binary = _Binary(b"" if header_length is None else content[header_length:])
    inputs = _inputs(fields.get("inputs"), binary)
    binary.require_end()
    return InferRequest(
        id=id_,
        inputs=inputs,
        outputs=_outputs(fields.get("outputs"), default=binary_output),
        binary_output=binary_output,
        refuse_missing=missing == _MISSING[0],
    )


class _Binary:
    """The bytes after the JSON: the data of each input, in order."""

    def __init__(self, content: bytes | memoryview) -> None:
        self._content = memoryview(content)
        self._start = 0

    def take(self, name: str, size_bytes: Any) -> memoryview:
        if type(size_bytes) is not int or size_bytes < 0:
            raise bad_request(f"input {name!r}: `binary_data_size` has to be a number of bytes")
        taken = self._content[self._start : self._start + size_bytes]
        if len(taken) < size_bytes:
            detail = f"`binary_data_size` is {size_bytes}, and only {len(taken)} bytes follow"
            raise bad_request(f"input {name!r}: {detail}")
        self._start += size_bytes
        return taken

    def require_end(self) -> None:
        num_left = len(self._content) - self._start
        if num_left:
            raise bad_request(f"{num_left} bytes of the body belong to no input")


def _inputs(value: Any, binary: _Binary) -> dict[str, Tensor]:
    inputs: dict[str, Tensor] = {}
    for index, entry in enumerate(_array(value, "`inputs`")):
        tensor = _input(entry, f"inputs[{index}]", binary)
        if tensor.name in inputs:
            raise bad_request(f"input {tensor.name!r} is given twice")
        inputs[tensor.name] = tensor
    if not inputs:
        raise bad_request("`inputs` has no tensor")
    return inputs


def _input(value: Any, where: str, binary: _Binary) -> Tensor:
    fields = _fields(value, where, known=("name", "shape", "datatype", "parameters", "data"))
    name = _name(fields, where)
    where = f"input {name!r}"
    datatype = fields.get("datatype")
    if datatype not in DATATYPES:
        raise bad_request(f"{where}: `datatype` has to be one of {', '.join(DATATYPES)}")
    shape = _shape(fields.get("shape"), name)
    parameters = _parameters(fields, where)
    _refuse_shared_memory(parameters, where)
    size_bytes = parameters.get("binary_data_size")
    if (size_bytes is None) == (fields.get("data") is None):
        raise bad_request(f"{where}: either `data` or the parameter `binary_data_size` is needed")
    if size_bytes is None:
        return tensors.of_json(name, datatype, shape, fields["data"])
    return tensors.of_bytes(name, datatype, shape, binary.take(name, size_bytes))


def _shape(value: Any, name: str) -> list[int]:
    where = f"input {name!r}"
    shape = _small(value, f"{where}: `shape`")
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        raise bad_request(f"{where}: `shape` has to be an array of whole numbers, none negative")
    if not 1 <= len(shape) <= 2 or shape[0] == 0:
        raise bad_request(f"{where}: the shape {shape} is neither [rows] nor [rows, values]")
    require_row_count(shape[0], tensor=name)
    return shape


def _outputs(value: Any, *, default: bool) -> dict[str, bool] | None:
    if value is None:
        return None
    outputs: dict[str, bool] = {}
    for index, entry in enumerate(_array(value, "`outputs`")):
        where = f"outputs[{index}]"
        fields = _fields(entry, where, known=("name", "parameters"))
        name = _name(fields, where)
        if name in outputs:
            raise bad_request(f"output {name!r} is requested twice")
        where = f"output {name!r}"
        parameters = _parameters(fields, where)
        _refuse_shared_memory(parameters, where)
        if parameters.get("classification"):
            raise bad_request(f"{where}: classification is not supported; ask for `probabilities`")
        outputs[name] = _flag(parameters, "binary_data", default=default)
    return outputs or None


def _refuse_shared_memory(parameters: Mapping[str, Any], where: str) -> None:
    if any(name.startswith("shared_memory") for name in parameters):
        raise bad_request(f"{where}: shared memory is not supported")


def _parameters(fields: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the parameters. Unknown ones are ignored: the protocol leaves them open."""
    value = _small(fields.get("parameters"), f"{where}: `parameters`")
    if not isinstance(value, dict | None):
        raise bad_request(f"{where}: `parameters` has to be an object")
    return value or {}


def _flag(parameters: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise bad_request(f"parameter {name!r} has to be true or false")
    return value


def _name(fields: Mapping[str, Any], where: str) -> str:
    name = fields.get("name")
    if not isinstance(name, str):
        raise bad_request(f"{where}: `name` has to be a string")
    return name


def _fields(value: Any, where: str, *, known: Collection[str]) -> dict[str, Any]:
    if not is_object(value):
        raise bad_request(f"{where} has to be an object")
    unknown = next((name for name in value if name not in known), None)
    if unknown is not None:
        raise bad_request(f"{where}: there is no field {unknown!r}")
    if len(value) > len(known):
        raise bad_request(f"{where}: a field is given twice")
    return {name: value[name] for name in value}  # `items` would convert every value


def _array(value: Any, what: str) -> Any:
    if not is_array(value):
        raise bad_request(f"{what} has to be an array")
    if len(value) > _MAX_TENSORS:
        raise bad_request(f"{what} has {len(value)} tensors, and may have {_MAX_TENSORS}")
    return value


def _small(value: Any, where: str) -> Any:
    """Convert a value that has few others within it to Python's own type."""
    try:
        return plain_if_small(value)
    except NotSmall as error:
        raise bad_request(f"{where}: {error}") from error
