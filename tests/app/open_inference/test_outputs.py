import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.http.errors import RequestError
from app.open_inference import outputs
from dropout_core.model.saved_model import Description
from tests.support.served_models import make_model

VALUES = np.array([[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]])


def facts_of(
    task: str, *, classes: tuple[Any, ...] | None = None, num_targets: int = 1
) -> Description:
    _, facts = make_model(num_classes=None)
    targets = tuple(f"target {n}" for n in range(num_targets))
    if task == "multilabel":
        classes = targets
    return facts.model_copy(update={"task": task, "classes": classes, "targets": targets})


def answer(facts: Description, values: NDArray[np.float64], **wanted: bool) -> dict[str, Any]:
    """The outputs by name, those in bytes too: datatype, shape and values."""
    content, length = outputs.answer(facts, values, wanted, binary=False, head={"id": "7"})
    document = json.loads(content[:length])
    assert document["id"] == "7"
    rest = b"" if length is None else content[length:]
    found = {}
    for entry in document["outputs"]:
        data = entry.get("data")
        if data is None:
            size = entry["parameters"]["binary_data_size"]
            data, rest = _read(entry["datatype"], rest[:size]), rest[size:]
        found[entry["name"]] = entry["datatype"], entry["shape"], data
    assert rest == b""
    return found


def _read(datatype: str, content: bytes) -> list[Any]:
    if datatype != "BYTES":
        dtype = {"FP64": "<f8", "INT64": "<i8", "BOOL": "?"}[datatype]
        values: list[Any] = np.frombuffer(content, dtype).tolist()
        return values
    texts = []
    while content:
        length = int.from_bytes(content[:4], "little")
        texts.append(content[4 : 4 + length].decode())
        content = content[4 + length :]
    return texts


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(
    ("classes", "datatype"),
    [
        (("rot", "grün", "blau"), "BYTES"),
        ((1, 2, 3), "INT64"),
        ((0.5, 1.0, 2.5), "FP64"),
        ((0, 0.5, 1), "FP64"),
    ],
)
def test_a_class_is_told_in_the_type_that_it_has(
    classes: tuple[Any, ...], datatype: str, binary: bool
) -> None:
    facts = facts_of("multiclass", classes=classes)
    found = answer(facts, VALUES, probabilities=binary, prediction=binary)
    assert found == {
        "probabilities": ("FP64", [2, 3], VALUES.ravel().tolist()),
        "prediction": (datatype, [2], [classes[1], classes[0]]),
    }


@pytest.mark.parametrize("binary", [False, True])
def test_two_classes_may_be_truth_values(binary: bool) -> None:
    facts = facts_of("binary", classes=(False, True))
    found = answer(facts, VALUES[:, :2], prediction=binary)
    assert found == {"prediction": ("BOOL", [2], [True, False])}


@pytest.mark.parametrize("binary", [False, True])
def test_each_label_is_told(binary: bool) -> None:
    facts = facts_of("multilabel", num_targets=3)
    found = answer(facts, VALUES, prediction=binary, probabilities=not binary)
    assert list(found) == ["prediction", "probabilities"]
    assert found["prediction"] == ("BOOL", [2, 3], [False, True, False, False, False, False])
    assert found["probabilities"][1] == [2, 3]


@pytest.mark.parametrize("binary", [False, True])
def test_values_are_told_of_one_target_and_of_several(binary: bool) -> None:
    one = answer(facts_of("regression"), VALUES[:, :1], prediction=binary)
    assert one == {"prediction": ("FP64", [2], [0.1, 0.5])}
    several = answer(facts_of("regression", num_targets=3), VALUES, prediction=binary)
    assert several == {"prediction": ("FP64", [2, 3], VALUES.ravel().tolist())}


def test_an_output_that_is_not_there_is_named() -> None:
    outputs.require(facts_of("regression"), None)
    outputs.require(facts_of("regression"), ["prediction"])
    with pytest.raises(RequestError, match="output 'probabilities': the model has prediction"):
        outputs.require(facts_of("regression"), ["prediction", "probabilities"])
