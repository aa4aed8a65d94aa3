import errno
from pathlib import Path

import pytest

from dropout_core.errors import ModelError
from dropout_core.export.__main__ import attempt
from dropout_core.export.process import MODEL_DELETED, MODEL_REFUSED, export
from dropout_core.model.saved_model import WEIGHTS, save_model
from tests.support.served_models import make_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path, *make_model())
    return tmp_path


def test_a_damaged_model_is_refused_with_the_reason(folder: Path) -> None:
    weights = folder / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ModelError, match="checksum"):
        export(folder, folder / "model.onnx", "onnx")
    assert not (folder / "model.onnx").exists()


def test_the_status_tells_what_went_wrong(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for chosen in ("safetensors", "onnx", "torch"):
        assert attempt(folder, folder / chosen, chosen) == 0
        assert (folder / chosen).stat().st_size > 0
    assert attempt(folder, Path("/dev/full"), "onnx") == errno.ENOSPC
    assert attempt(folder, folder / "model", "pickle") == MODEL_REFUSED
    assert "'pickle'" in capsys.readouterr().out
    (folder / WEIGHTS).unlink()
    assert attempt(folder, folder / "model.onnx", "onnx") == MODEL_DELETED


def test_an_export_that_fails_is_told_as_what_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OSError, match="No space") as full:
        export(folder, Path("/dev/full"), "onnx")
    assert full.value.errno == errno.ENOSPC
    with pytest.raises(FileNotFoundError):
        export(folder / "gone", folder / "model.onnx", "onnx")
    monkeypatch.setattr("dropout_core.export.process.SECONDS", 0.01)
    with pytest.raises(ModelError, match="more than"):
        export(folder, folder / "model.onnx", "onnx")
