"""What an ONNX file takes: numbers alone in one tensor, or else a tensor for each feature.

Shapes: N rows, V values, K categorical features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from onnx import TensorProto, ValueInfoProto, helper

from dropout_core.data.categories import CategoricalFeature
from dropout_core.data.encoder import Encoder
from dropout_core.data.features import (
    BooleanFeature,
    DatetimeFeature,
    Feature,
    NumericFeature,
    TextFeature,
    value_names,
)
from dropout_core.export.onnx_graph import OF_CATEGORIES, Graph, new_name

ALL_NUMBERS = "input"
"""The one input of a model whose features are all numbers and truth values."""

_MISSING = {True: "NaN where it is missing", False: "training saw none missing: NaN is imputed"}


@dataclass(frozen=True)
class Inputs:
    """`names` (feature -> input) is empty where one input takes all features, in order."""

    encoder: Encoder
    names: Mapping[str, str]

    @classmethod
    def of(cls, encoder: Encoder, *, taken: set[str]) -> "Inputs":
        """Inputs named as their features are, but for what is in `taken`, to which they are added.

        A number is behind a name that is taken.
        """
        if encoder.is_numeric:
            taken.add(ALL_NUMBERS)
            return cls(encoder, {})
        names = [feature.name for feature in encoder.features]
        return cls(encoder, {name: new_name(name or "feature", taken) for name in names})

    def declare(self) -> list[ValueInfoProto]:
        """Their types, shapes and what they hold."""
        if not self.names:
            names = ", ".join(feature.name for feature in self.encoder.features)
            what = f"numbers, truth values as 0 and 1, NaN where one is missing: {names}"
            shape: list[int | str] = ["N", len(self.encoder.features)]
            return [helper.make_tensor_value_info(ALL_NUMBERS, TensorProto.DOUBLE, shape, what)]
        return [
            helper.make_tensor_value_info(
                self.names[feature.name], *_type_and_shape(feature), _description(feature)
            )
            for feature in self.encoder.features
        ]

    def add(self, graph: Graph) -> tuple[str | None, list[str]]:
        """The values (N, V) if there are any, and the codes (N) of each categorical feature."""
        if not self.names:
            return ALL_NUMBERS, []
        values, codes = [], []
        for feature in self.encoder.features:
            name = self.names[feature.name]
            if isinstance(feature, CategoricalFeature):
                codes.append(_add_codes(graph, name, feature))
            else:
                values.append(name)
        return graph.joined(values) if values else None, codes

    def feed(self, cells: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Cells by feature, as `examples.Examples` has them, by input."""
        if self.names:
            return {self.names[name]: of_feature for name, of_feature in cells.items()}
        return {ALL_NUMBERS: np.hstack([cells[f.name] for f in self.encoder.features])}


def _type_and_shape(feature: Feature) -> tuple[int, list[int | str]]:
    if isinstance(feature, CategoricalFeature):
        return TensorProto.STRING, ["N", 1]
    return TensorProto.DOUBLE, ["N", len(value_names(feature))]


def _description(feature: Feature) -> str:
    match feature:
        case NumericFeature():
            return f"a number; {_MISSING[feature.may_be_missing]}"
        case BooleanFeature():
            return f"false is 0, true is 1; {_MISSING[feature.may_be_missing]}"
        case DatetimeFeature():
            return (
                f"of a moment in UTC: {', '.join(feature.parts)}; days since 1970-01-01 with a "
                f"fraction, weekday from Monday, 1; {_MISSING[feature.may_be_missing]}"
            )
        case TextFeature():
            return (
                "how often words come, in L2 norm 1: runs of letters, digits and underscores, "
                f"lower-cased, the column being the CRC-32 of UTF-8 modulo {feature.num_buckets}"
            )
        case CategoricalFeature():
            return (
                f"a category ({feature.stored_as}) spelt as in the metadata's `categories`; any "
                "other text, as where it is missing, is the unknown category"
            )


def _add_codes(graph: Graph, name: str, feature: CategoricalFeature) -> str:
    keys = pl.Series(feature.name, feature.categories or [""], dtype=pl.String)
    codes = graph.add(
        "LabelEncoder",
        name,
        domain=OF_CATEGORIES,
        keys_strings=keys.to_list(),
        values_int64s=feature.codes(keys).astype(np.int64).tolist(),
        default_int64=0,
    )
    return graph.add("Reshape", codes, np.array([-1]))
