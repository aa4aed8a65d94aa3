import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, numpy_helper

from dropout_core.config import PreprocessingConfig
from dropout_core.errors import ModelError
from dropout_core.export import onnx_model
from dropout_core.export.check import WholeModel, tolerance
from dropout_core.export.onnx_model import write_onnx
from dropout_core.model.predictor import Predictor
from dropout_core.model.saved_model import Calibration
from tests.support.exported_models import Kept, every_kind, inputs_of, model_of_every_kind
from tests.support.networks import networks
from tests.support.served_models import NUMBER_EMBEDDINGS, WORDS, make_model, normal, numbers

CALIBRATION = Calibration(temperature=1.7)
SCALES = ["standard", "robust", "quantile", "minmax"]


def write(folder: Path, *model: Any) -> Kept:
    kept = Kept(folder, *model)
    write_onnx(kept.model, kept.manifest, folder / "model.onnx", check=kept.check)
    return kept


def run(file: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What onnxruntime makes of a file; the file is one by the format's own checker."""
    onnx.checker.check_model(onnx.load(file), full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def assert_same(kept: Kept, frame: pl.DataFrame, answer: dict[str, np.ndarray]) -> None:
    """Outputs are the service's but for rounding, and labels are those of the outputs."""
    matrix = kept.predictor.encode(frame)
    given = torch.from_numpy(answer[next(iter(answer))])
    whole = WholeModel(kept.model, kept.manifest.task, num_quantiles=kept.manifest.num_quantiles)
    allowed = tolerance(whole, matrix)
    assert ((given - kept.predictor.outputs(matrix)).abs() <= allowed).all()
    values = kept.predictor.predictions(given).values
    if kept.manifest.quantiles is not None:
        assert [*answer] == ["quantiles", "values"]
        assert answer["values"].tolist() == [list(row.values()) for row in values]
    elif kept.manifest.classes is None:
        assert answer.keys() == {"values"}
    else:
        expected = [list(row.values()) if isinstance(row, dict) else row for row in values]
        assert answer.keys() == {"probabilities", "prediction"}
        assert answer["prediction"].tolist() == expected


@given(data=st.data())
@settings(deadline=None, max_examples=20)
def test_onnxruntime_answers_as_the_service_does(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    num_features = data.draw(st.integers(1, 12), label="features")
    categories = data.draw(st.booleans(), label="categories")
    kept = write(
        tmp_path_factory.mktemp("model"),
        *make_model(
            num_features=num_features,
            num_classes=data.draw(st.sampled_from([None, 2, 3]), label="classes"),
            categories=categories,
            preprocessing=PreprocessingConfig(
                scale=data.draw(st.sampled_from(SCALES), label="scale"),
                number_embedding=data.draw(st.sampled_from(NUMBER_EMBEDDINGS), label="numbers"),
                max_one_hot=data.draw(st.sampled_from([0, 16, 100]), label="one-hot"),
            ),
            **data.draw(networks(widest=40)),
        ),
    )
    rows = 10 + 5 * normal(20, num_features, seed=data.draw(st.integers(0, 99)))
    if categories:
        rows[::5, 0] = math.nan
    frame = numbers(rows)
    inputs = {"input": rows.numpy()}
    if categories:
        words = [*WORDS[:18], "a word", ""]
        frame = frame.with_columns(few=pl.Series(words), many=pl.Series(words[::-1]))
        inputs = inputs_of(kept.manifest.encoder, frame)
    assert_same(kept, frame, run(kept.folder / "model.onnx", inputs))


@pytest.mark.parametrize(
    "config",
    [
        {"task": "multilabel", "targets": ("spam", "ad")},
        {"num_classes": None, "targets": ("height", "weight")},
        {"hidden_dropout": {"kind": "batchwise", "p": 0.5}},
        {"num_classes": None, "targets": ("height", "weight"), "quantiles": (0.1, 0.5, 0.7, 0.9)},
        {"calibration": CALIBRATION},
        {"task": "multilabel", "targets": ("spam", "ad"), "calibration": CALIBRATION},
        {"task": "multilabel", "targets": ("spam", "ad"), "members": 3},
    ],
    ids=[
        *("labels", "targets", "batchwise", "quantiles"),
        *("calibrated classes", "calibrated labels"),
        "labels of members",
    ],
)
def test_other_tasks_and_dropouts_do_too(tmp_path: Path, config: dict[str, Any]) -> None:
    kept = write(tmp_path, *make_model(**config))
    rows = 10 + 5 * normal(30, 5)
    answer = run(tmp_path / "model.onnx", {"input": rows.numpy()})
    assert_same(kept, numbers(rows), answer)


def test_labels_of_which_all_members_are_sure_have_their_temperature(tmp_path: Path) -> None:
    sure = make_model(
        task="multilabel",
        targets=("spam", "ad"),
        members=3,
        calibration=Calibration(temperature=10.0),
    )
    sure[0].network.output.bias.data += torch.tensor([45.0, -45.0])
    kept = write(tmp_path, *sure)
    rows = 10 + 5 * normal(30, 5)
    answer = run(tmp_path / "model.onnx", {"input": rows.numpy()})
    assert_same(kept, numbers(rows), answer)
    assert 0.9 < answer["probabilities"][:, 0].max() < 0.999


@pytest.mark.parametrize("scale", ["standard", "quantile"])
def test_features_of_every_kind_are_inputs_by_their_names(tmp_path: Path, scale: str) -> None:
    kept = write(tmp_path, *model_of_every_kind(scale=scale))
    frame = every_kind(80)
    inputs = inputs_of(kept.manifest.encoder, frame)
    inputs["prediction_2"] = inputs.pop("prediction")  # an output is called so
    assert_same(kept, frame, run(tmp_path / "model.onnx", inputs))
    exported = onnx.load(tmp_path / "model.onnx")
    names = json.loads(metadata(exported)["inputs"])
    assert names == {name: name for name in frame.columns} | {"prediction": "prediction_2"}
    described = {value.name: value.doc_string for value in exported.graph.input}
    assert described.keys() == inputs.keys()
    assert "never missing in training" in described["member"]
    assert "days" in described["since"]
    assert "CRC-32" in described["note"]


def metadata(exported: ModelProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in exported.metadata_props}


def test_quantiles_are_searched_as_torch_does(tmp_path: Path) -> None:
    """On the quantiles themselves, in runs of equal ones, and beyond all: to the bit."""
    scale = PreprocessingConfig(scale="quantile")
    model, description = make_model(num_features=2, preprocessing=scale, hidden=())
    with torch.no_grad():
        model.preprocessing.scale.quantiles[1] = torch.arange(257).double().div(40).floor()
    kept = write(tmp_path, model, description)
    quantiles = kept.model.preprocessing.scale.quantiles.T
    between = (quantiles[1:] + quantiles[:-1]) / 2
    beyond = torch.tensor([[-1e308, 1e308], [1e308, -1e308]], dtype=torch.float64)
    rows = torch.cat([quantiles, between, beyond])
    exported = onnx.load(tmp_path / "model.onnx")
    (gemm,) = (node for node in exported.graph.node if node.op_type == "Gemm")
    scaled = gemm.input[0]
    exported.graph.output.append(onnx.ValueInfoProto(name=scaled))
    session = onnxruntime.InferenceSession(exported.SerializeToString())
    (given,) = session.run([scaled], {"input": rows.numpy()})
    assert torch.equal(torch.from_numpy(given), kept.model.preprocessing(rows))


@pytest.mark.parametrize(
    "classes", [("no", "\N{SNOWMAN}"), (False, True), (-(2**63), 7), (0.5, 1.0)], ids=str
)
def test_a_label_is_the_class_itself(tmp_path: Path, classes: tuple[Any, ...]) -> None:
    model, description = make_model(num_classes=2)
    kept = write(tmp_path, model, description.model_copy(update={"classes": classes}))
    rows = 10 + 5 * normal(20, 5)
    labels = run(tmp_path / "model.onnx", {"input": rows.numpy()})["prediction"].tolist()
    assert labels == kept.predictor.predict(numbers(rows)).values
    assert {type(label) for label in labels} == {type(classes[0])}
    assert len(set(labels)) == 2


def test_a_file_takes_any_number_of_rows(tmp_path: Path) -> None:
    kept = write(tmp_path, *model_of_every_kind(scale="quantile"))
    inputs = inputs_of(kept.manifest.encoder, every_kind())
    inputs["prediction_2"] = inputs.pop("prediction")
    for num_rows in (0, 1, 60):
        part = {name: cells[:num_rows] for name, cells in inputs.items()}
        assert run(tmp_path / "model.onnx", part)["probabilities"].shape == (num_rows, 2)


def test_a_file_says_what_it_is_of(tmp_path: Path) -> None:
    kept = write(tmp_path, *make_model(categories=True, num_features=1))
    facts = metadata(onnx.load(tmp_path / "model.onnx"))
    assert facts["fingerprint"] == "somewhere"
    assert facts["weights_sha256"] == kept.manifest.weights_sha256
    assert json.loads(facts["classes"]) == ["class 0", "class 1", "class 2"]
    assert json.loads(facts["features"]) == ["feature 0", "few", "many"]
    assert json.loads(facts["categories"])["few"] == list(WORDS[:3])


def test_the_same_model_is_the_same_file(tmp_path: Path) -> None:
    files = []
    for folder in (tmp_path / "first", tmp_path / "second"):
        write(folder, *make_model(categories=True))
        files.append((folder / "model.onnx").read_bytes())
    assert files[0] == files[1]


def _move_a_weight(exported: ModelProto) -> None:
    weights = next(c for c in exported.graph.initializer if list(c.dims) == [3, 7])
    moved = numpy_helper.to_array(weights).copy()
    moved[0] *= 1.001
    weights.CopyFrom(numpy_helper.from_array(moved, weights.name))


def _swap_labels(exported: ModelProto) -> None:
    labels = next(c for c in exported.graph.initializer if c.string_data)
    labels.string_data.reverse()


@pytest.mark.parametrize("damage", [_move_a_weight, _swap_labels])
def test_a_file_that_answers_otherwise_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Any
) -> None:
    make = onnx_model.onnx_model

    def damaged(*model: Any) -> Any:
        exported, inputs = make(*model)
        damage(exported)
        return exported, inputs

    monkeypatch.setattr(onnx_model, "onnx_model", damaged)
    with pytest.raises(ModelError, match="it is not sent"):
        write(tmp_path, *make_model())
    assert not (tmp_path / "model.onnx").exists()


def test_the_tolerance_is_that_of_rounding() -> None:
    """No sum of float32 is further from that of float64, and it is a tight bound all the same."""
    model, description = make_model(num_features=784, num_classes=10, hidden=(256,))
    whole = WholeModel(model, description.task)
    rows = 10 + 3 * normal(50, 784)
    allowed = tolerance(whole, rows)
    service = Predictor(model, description).outputs(rows)
    exact = whole.model.network.double()(whole.model.preprocessing(rows).double()).softmax(dim=1)
    assert ((service - exact).abs() <= allowed).all()
    assert allowed.max() < 1e-4
