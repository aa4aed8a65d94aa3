"""The inputs of an ONNX file: one tensor if all features are numbers, else one per feature.

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
from dropout_core.export.onnx_graph import ML_DOMAIN, Graph, new_name

ALL_NUMBERS = "input"
"""The only input of a model whose features are all numeric or boolean."""

_MISSING = {True: "NaN if missing", False: "never missing in training: NaN is imputed"}


@dataclass(frozen=True)
class Inputs:
    """Input names by feature; `names` is empty if one input takes all features, in order."""

    encoder: Encoder
    names: Mapping[str, str]

    @classmethod
    def of(cls, encoder: Encoder, *, taken: set[str]) -> "Inputs":
        """Return inputs named after their features, and add the names to `taken`.

        A number is appended to a name that is in `taken` already.
        """
        if encoder.is_numeric:
            taken.add(ALL_NUMBERS)
            return cls(encoder, {})
        names = [feature.name for feature in encoder.features]
        return cls(encoder, {name: new_name(name or "feature", taken) for name in names})

    def declare(self) -> list[ValueInfoProto]:
        """Return the inputs' types, shapes and descriptions."""
        if not self.names:
            names = ", ".join(feature.name for feature in self.encoder.features)
            doc = f"numbers, booleans as 0 and 1, NaN for a missing value: {names}"
            shape: list[int | str] = ["N", len(self.encoder.features)]
            return [helper.make_tensor_value_info(ALL_NUMBERS, TensorProto.DOUBLE, shape, doc)]
        return [
            helper.make_tensor_value_info(
                self.names[feature.name], *_type_and_shape(feature), _description(feature)
            )
            for feature in self.encoder.features
        ]

    def add(self, graph: Graph) -> tuple[str | None, list[str]]:
        """Return the values (N, V), if there are any, and each categorical feature's codes (N)."""
        if not self.names:
            return ALL_NUMBERS, []
        values, codes = [], []
        for feature in self.encoder.features:
            name = self.names[feature.name]
            if isinstance(feature, CategoricalFeature):
                codes.append(_add_codes(graph, name, feature))
            else:
                values.append(name)
        return graph.concatenate(values) if values else None, codes

    def feed(self, cells: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the cells of `examples.Examples` by input."""
        if self.names:
            return {self.names[name]: value for name, value in cells.items()}
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
                f"parts of a time in UTC: {', '.join(feature.parts)}; days since 1970-01-01 with a "
                f"fraction, weekday from Monday, 1; {_MISSING[feature.may_be_missing]}"
            )
        case TextFeature():
            return (
                "counts of words, scaled to L2 norm 1: runs of letters, digits and underscores, "
                "lower-cased; a word's column is the CRC-32 of its UTF-8 bytes modulo "
                f"{feature.num_buckets}"
            )
        case CategoricalFeature():
            return (
                f"a category ({feature.stored_as}) spelt as in the metadata's `categories`; any "
                "other text, also for a missing value, is the unknown category"
            )


def _add_codes(graph: Graph, name: str, feature: CategoricalFeature) -> str:
    keys = pl.Series(feature.categories or [""], dtype=pl.String)
    codes = graph.add(
        "LabelEncoder",
        name,
        domain=ML_DOMAIN,
        keys_strings=keys.to_list(),
        values_int64s=feature.codes(keys).astype(np.int64).tolist(),
        default_int64=0,
    )
    return graph.add("Reshape", codes, np.array([-1]))
