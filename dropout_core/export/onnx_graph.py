"""A builder of ONNX graphs."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from torch import Tensor

ML_DOMAIN = "ai.onnx.ml"
"""The domain of the operators for text."""


class Graph:
    """Nodes in their order of execution, and constants. `taken` are names that are in use."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []

    def add(
        self,
        operator: str,
        *inputs: str | float | NDArray[Any] | Tensor,
        output: str | None = None,
        domain: str = "",
        num_unused: int = 0,
        **attributes: Any,
    ) -> str:
        """Add a node, and return the name of its result: `output` or a new name.

        Inputs are names, or numbers that become constants. `num_unused` results follow the first.
        """
        names = [given if isinstance(given, str) else self.constant(given) for given in inputs]
        result = output or new_name(f"/{operator}", self._taken)
        unused = [new_name(f"/{operator}", self._taken) for _ in range(num_unused)]
        self._nodes.append(
            helper.make_node(operator, names, [result, *unused], domain=domain, **attributes)
        )
        return result

    def constant(self, value: float | NDArray[Any] | Tensor) -> str:
        """Add a constant of numbers or, with dtype object, of text, and return its name."""
        name = new_name("/constant", self._taken)
        array = value.detach().numpy() if isinstance(value, Tensor) else value
        self._constants.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def cast(self, value: str, dtype: type[np.generic]) -> str:
        return self.add("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def concatenate(self, parts: list[str]) -> str:
        """Concatenate parts (N, *) along axis 1."""
        return parts[0] if len(parts) == 1 else self.add("Concat", *parts, axis=1)

    def finish(
        self, inputs: list[ValueInfoProto], outputs: list[ValueInfoProto], *, doc_string: str
    ) -> GraphProto:
        constants = self._constants
        return helper.make_graph(
            self._nodes, "model", inputs, outputs, initializer=constants, doc_string=doc_string
        )


def new_name(wanted: str, taken: set[str]) -> str:
    """Return the name, with a number appended if it is in `taken`, and add it to `taken`."""
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}_{number}", number + 1
    taken.add(name)
    return name
