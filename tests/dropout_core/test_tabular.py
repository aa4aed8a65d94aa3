import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_core.config import MLPConfig
from dropout_core.mlp import MLP
from dropout_core.tabular import (
    MANIFEST,
    WEIGHTS,
    Description,
    Manifest,
    ModelError,
    TabularModel,
    load_model,
    save_model,
)
from tests.dropout_core.served_models import make_model, normal


def test_features_are_standardised_by_the_rows_they_are_fitted_to() -> None:
    features = 1e3 * normal(200, 4) + torch.tensor([0.0, 1e6, -5.0, 1.0])
    model, _ = make_model(num_features=4)
    model.fit_scales(features, None)
    standardised = model.standardise(features)
    assert standardised.dtype == torch.float32
    torch.testing.assert_close(standardised.mean(dim=0), torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(standardised.std(dim=0, correction=0), torch.ones(4))


@given(value=st.floats(-1e12, 1e12), num_rows=st.integers(1, 300))
@settings(deadline=None)
def test_a_constant_column_has_scale_one(value: float, num_rows: int) -> None:
    model = TabularModel(MLP(MLPConfig(hidden=()), in_features=1, out_features=1))
    model.fit_scales(torch.full((num_rows, 1), value, dtype=torch.float64), None)
    assert model.feature_scale.item() == 1.0


def test_a_spread_too_small_to_square_has_scale_one() -> None:
    model = TabularModel(MLP(MLPConfig(hidden=()), in_features=1, out_features=1))
    model.fit_scales(torch.tensor([[1e-200], [2e-200]], dtype=torch.float64), None)
    assert model.feature_scale.item() == 1.0


def test_large_values_keep_their_differences() -> None:
    # In float32 the neighbours of 1e12 are 65,536 apart.
    features = 1e12 + torch.arange(10, dtype=torch.float64)[:, None]
    model = TabularModel(MLP(MLPConfig(hidden=()), in_features=1, out_features=1))
    model.fit_scales(features, None)
    steps = model.standardise(features)[:, 0].diff()
    torch.testing.assert_close(steps, torch.full((9,), 1 / features.std(correction=0).float()))


def test_regression_values_come_back_in_their_own_units() -> None:
    model = TabularModel(MLP(MLPConfig(hidden=()), in_features=1, out_features=1))
    features, targets = normal(50, 1), 1e6 + 10 * normal(50, 1, seed=1)
    model.fit_scales(features, targets)
    with torch.no_grad():
        model.network.output.weight.zero_()
        torch.testing.assert_close(model(features), targets.mean().expand(50, 1))
        model.network.output.bias.fill_(2.0)
        in_units = targets.mean() + 2.0 * targets.std(correction=0)
        torch.testing.assert_close(model(features), in_units.expand(50, 1))
    standardised = model.standardise_target(targets)
    torch.testing.assert_close(standardised.mean(), torch.tensor(0.0), atol=1e-4, rtol=0)


@pytest.mark.parametrize("num_classes", [None, 2, 3])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_model_comes_back_with_the_same_bits(
    tmp_path: Path, num_classes: int | None, batch_norm: bool
) -> None:
    model, description = make_model(num_classes=num_classes, batch_norm=batch_norm)
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
        {"features": ["one"]},
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


def test_a_regression_has_one_output_and_classes_one_each() -> None:
    assert [make_model(num_classes=n)[1].num_outputs for n in (None, 2, 3)] == [1, 2, 3]
    assert issubclass(Manifest, Description)
