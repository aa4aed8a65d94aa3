import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from dropout_core.config import PreprocessingConfig
from dropout_core.errors import ModelError
from dropout_core.model.saved_model import (
    MANIFEST,
    WEIGHTS,
    Calibration,
    Description,
    Manifest,
    load_model,
    save_model,
)
from tests.support.served_models import make_model, normal


def test_regression_values_come_back_in_their_own_units() -> None:
    model, _ = make_model(num_features=1, num_classes=None, targets=("small", "large"), hidden=())
    targets = torch.tensor([1e-3, 1e6]) + torch.tensor([1e-5, 10.0]) * normal(50, 2, seed=1)
    model.fit_targets(targets)
    features = normal(50, 1)
    with torch.no_grad():
        model.network.output.weight.zero_()
        model.network.output.bias.zero_()
        torch.testing.assert_close(model(features), targets.mean(dim=0).expand(50, 2))
        model.network.output.bias.fill_(2.0)
        in_units = targets.mean(dim=0) + 2.0 * targets.std(dim=0, correction=0)
        torch.testing.assert_close(model(features), in_units.expand(50, 2))
    standardised = model.standardise_targets(targets)
    torch.testing.assert_close(standardised.mean(dim=0), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(standardised.std(dim=0, correction=0), torch.ones(2))


@pytest.mark.parametrize(
    "config",
    [
        {"num_classes": None},
        {"num_classes": 2, "batch_norm": True},
        {"num_classes": 3, "categories": True},
        {"categories": True, "preprocessing": PreprocessingConfig(scale="quantile", max_one_hot=2)},
        {"task": "multilabel", "targets": ("one", "other")},
        {"calibration": Calibration(temperature=1.7, num_scores=20)},
        {"num_classes": None, "targets": ("a", "b"), "calibration": Calibration(num_scores=20)},
        {
            "num_classes": None,
            "targets": ("a", "b"),
            "quantiles": (0.1, 0.5, 0.9),
            "calibration": Calibration(num_scores=20),
        },
        {
            "task": "multilabel",
            "targets": ("one", "other"),
            "calibration": Calibration(temperature=1.7),
        },
    ],
    ids=str,
)
def test_a_model_comes_back_with_the_same_bits(tmp_path: Path, config: dict[str, Any]) -> None:
    model, description = make_model(**config)
    manifest = save_model(tmp_path, model, description)
    loaded, same_manifest = load_model(tmp_path)
    assert same_manifest == manifest
    assert Description(**{name: getattr(manifest, name) for name in Description.model_fields}) == (
        description
    )
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_classes_keep_their_types(tmp_path: Path) -> None:
    for classes in ((False, True), (0, 1), (0.0, 1.0), ("0", "1"), ("", "\N{SNOWMAN}")):
        model, description = make_model(num_classes=2)
        save_model(tmp_path, model, description.model_copy(update={"classes": classes}))
        loaded = load_model(tmp_path)[1].classes
        assert loaded == classes
        assert [type(value) for value in loaded] == [type(value) for value in classes]


def test_the_same_model_is_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        save_model(tmp_path / folder, *make_model())
    for name in (MANIFEST, WEIGHTS):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, *make_model())
    return folder


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(deadline=None)
def test_any_flipped_bit_of_the_weights_is_refused(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, place: float, bit: int
) -> None:
    corrupted = tmp_path_factory.mktemp("corrupted")
    (corrupted / MANIFEST).write_bytes((folder / MANIFEST).read_bytes())
    weights = bytearray((folder / WEIGHTS).read_bytes())
    weights[int(place * len(weights))] ^= 1 << bit
    (corrupted / WEIGHTS).write_bytes(weights)
    with pytest.raises(ModelError, match="do not match their checksum"):
        load_model(corrupted)


@pytest.mark.parametrize("missing", [MANIFEST, WEIGHTS])
def test_a_missing_file_is_a_model_error(tmp_path: Path, missing: str) -> None:
    save_model(tmp_path, *make_model())
    (tmp_path / missing).unlink()
    with pytest.raises(ModelError, match="No such file"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "clustering"},
        {"unheard_of": 1},
        {"encoder": {"features": [{"name": "one", "may_be_missing": False, "type": "numeric"}]}},
        {"format_version": 3},
        {"classes": ["only"]},
        {"model": {"hidden": [99]}},
        {"weights_sha256": None},
    ],
    ids=str,
)
def test_a_manifest_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    save_model(tmp_path, *make_model())
    values = json.loads((tmp_path / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps(values | changes))
    with pytest.raises(ModelError, match="not a readable model"):
        load_model(tmp_path)


def test_a_manifest_that_is_not_json_is_refused(tmp_path: Path) -> None:
    save_model(tmp_path, *make_model())
    (tmp_path / MANIFEST).write_bytes(b"\x80\x04.")
    with pytest.raises(ModelError, match="not a readable model"):
        load_model(tmp_path)


def test_classes_have_an_output_each_and_so_have_targets_without_them() -> None:
    assert [make_model(num_classes=n)[1].num_outputs for n in (None, 2, 3)] == [1, 2, 3]
    assert make_model(num_classes=None, targets=("a", "b"))[1].num_outputs == 2
    assert make_model(task="multilabel", targets=("a", "b", "c", "d"))[1].num_outputs == 4
    assert issubclass(Manifest, Description)


@pytest.mark.parametrize("num_classes", [None, 3])
def test_a_model_of_the_first_version_is_read(tmp_path: Path, num_classes: int | None) -> None:
    model, description = make_model(num_classes=num_classes)
    manifest = save_model(tmp_path, model, description)
    state = model.state_dict()
    scale = {"mean": "feature_mean", "deviation": "feature_scale"}
    old = {name: t for name, t in state.items() if not name.startswith("preprocessing.")}
    old |= {new: state[f"preprocessing.scale.{name}"] for name, new in scale.items()}
    old |= {name: state[name][0].clone() for name in ("target_mean", "target_scale")}
    weights = save(old)
    values = json.loads(manifest.model_dump_json())
    for name in ("preprocessing", "encoder", "targets"):
        del values[name]
    values |= {
        "format_version": 1,
        "target": "target",
        "features": list(description.features),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    (tmp_path / WEIGHTS).write_bytes(weights)
    (tmp_path / MANIFEST).write_text(json.dumps(values))
    read, told = load_model(tmp_path)
    assert (told.targets, told.features) == (("target",), description.features)
    rows = 10 + 5 * normal(4, 5)
    assert torch.equal(read.eval()(rows), model.eval()(rows))
