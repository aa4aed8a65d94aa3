import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from dropout_core.errors import ModelError
from dropout_core.export.program import write_program
from dropout_core.model.saved_model import Calibration
from tests.support.exported_models import Kept, every_kind, model_of_every_kind
from tests.support.served_models import make_model, normal

ROOT = Path(__file__).parents[3]


def write(folder: Path, *model: Any) -> Kept:
    kept = Kept(folder, *model)
    write_program(kept.manifest, folder / "model.pt2", check=kept.check)
    return kept


def test_a_program_answers_any_number_of_rows_as_the_service_does(tmp_path: Path) -> None:
    kept = write(tmp_path, *model_of_every_kind(max_one_hot=3, scale="quantile"))
    matrix = kept.predictor.encode(every_kind())
    program = torch.export.load(tmp_path / "model.pt2").module()
    for num_rows in (0, 1, 60):
        given, expected = program(matrix[:num_rows]), kept.predictor.outputs(matrix[:num_rows])
        # A dozen units of float32 at most, of probabilities.
        torch.testing.assert_close(given, expected, rtol=0, atol=12 * 2.0**-24)


@pytest.mark.parametrize(
    "config",
    [
        {
            "num_classes": None,
            "activation": "maxout",
            "batch_norm": True,
            "input_dropout": {"p": 0.5, "scaling": "classic"},
        },
        {
            "task": "multilabel",
            "targets": ("spam", "ad"),
            "hidden_dropout": {"kind": "dropconnect", "p": 0.5},
        },
        {"hidden": (), "calibration": Calibration(temperature=1.7, num_scores=20)},
        {"hidden": (), "num_classes": None, "quantiles": (0.1, 0.5, 0.9)},
    ],
    ids=["regression", "labels", "calibrated", "quantiles"],
)
def test_every_task_can_be_had(tmp_path: Path, config: dict[str, Any]) -> None:
    kept = write(tmp_path, *make_model(**config))
    rows = 10 + 5 * normal(30, 5)
    given = torch.export.load(tmp_path / "model.pt2").module()(rows)
    torch.testing.assert_close(given, kept.predictor.outputs(rows), rtol=1e-5, atol=1e-5)


def test_a_program_holds_no_pickle_and_nothing_of_this_machine(tmp_path: Path) -> None:
    kept = write(tmp_path, *make_model())
    with zipfile.ZipFile(tmp_path / "model.pt2") as archive:
        parts = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    assert parts["data/sample_inputs/model.pt"] == b""
    assert json.loads(parts["extra/model.json"]) == kept.manifest.model_dump(mode="json")
    weights = json.loads(parts["data/weights/model_weights_config.json"])["config"].values()
    assert weights
    assert not any(entry["use_pickle"] for entry in weights)
    assert not [name for name, content in parts.items() if str(ROOT).encode() in content]


def test_the_same_model_is_the_same_program(tmp_path: Path) -> None:
    files = []
    for folder in (tmp_path / "first", tmp_path / "second"):
        write(folder, *make_model(hidden=()))
        files.append((folder / "model.pt2").read_bytes())
    assert files[0] == files[1]


def test_a_program_that_answers_otherwise_is_not_written(tmp_path: Path) -> None:
    kept = Kept(tmp_path, *make_model(hidden=()))
    with torch.no_grad():
        kept.check.whole.model.network.output.weight.mul_(1.001)
    with pytest.raises(ModelError, match="it is not sent"):
        write_program(kept.manifest, tmp_path / "model.pt2", check=kept.check)
    assert not (tmp_path / "model.pt2").exists()
