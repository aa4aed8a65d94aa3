import zipfile
from pathlib import Path

import pytest
import torch

from dropout_core.errors import ModelError
from dropout_core.export.archive import write_archive
from dropout_core.model.predictor import Predictor
from dropout_core.model.saved_model import MANIFEST, WEIGHTS, save_model
from tests.support.exported_models import Kept, every_kind, model_of_every_kind
from tests.support.served_models import make_model


def test_an_archive_holds_the_model_as_it_is_kept(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "kept", *model_of_every_kind())
    write_archive(kept.folder, tmp_path / "model.zip", check=kept.check)
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        assert archive.namelist() == ["README.md", MANIFEST, WEIGHTS]
        for name in (MANIFEST, WEIGHTS):
            (unpacked / name).write_bytes(archive.read(name))
            assert archive.read(name) == (kept.folder / name).read_bytes()
    frame = every_kind()
    loaded = Predictor.load(unpacked)
    assert torch.equal(loaded.outputs_of(frame), kept.predictor.outputs_of(frame))


def test_the_same_model_is_the_same_archive(tmp_path: Path) -> None:
    files = []
    for name in ("first", "second"):
        kept = Kept(tmp_path / name, *make_model())
        write_archive(kept.folder, tmp_path / f"{name}.zip", check=kept.check)
        files.append((tmp_path / f"{name}.zip").read_bytes())
    assert files[0] == files[1]


def test_an_archive_of_another_model_is_refused(tmp_path: Path) -> None:
    kept = Kept(tmp_path, *make_model())
    model, description = make_model()
    with torch.no_grad():
        model.network.output.bias[0] += 2.0**-20
    save_model(tmp_path, model, description)
    with pytest.raises(ModelError, match="bits"):
        write_archive(tmp_path, tmp_path / "model.zip", check=kept.check)
    assert sorted(path.name for path in tmp_path.iterdir()) == [MANIFEST, WEIGHTS]
