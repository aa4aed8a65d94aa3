"""The README's examples run as they stand."""

import re
import subprocess
import sys
from pathlib import Path

from app.http.walkthrough import WALKTHROUGH
from store.settings import PREFIX, Settings

README = Path(__file__).parent.parent / "README.md"


def section(title: str) -> str:
    (text,) = re.findall(
        rf"^## {title}\n(.*?)(?=^## )", README.read_text(), re.DOTALL | re.MULTILINE
    )
    return str(text)


def python(script: str, folder: Path) -> str:
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={"PYTHONPATH": str(README.parent), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=90,
    ).stdout


def test_the_example_of_the_library_trains_saves_and_predicts(tmp_path: Path) -> None:
    (writer,) = re.findall(r"<<'PYTHON'\n(.*?)^PYTHON$", WALKTHROUGH, re.DOTALL | re.MULTILINE)
    (tmp_path / "flats.csv").write_text(python(writer, tmp_path))
    (example,) = re.findall(r"```python\n(.*?)```", section("Use the library"), re.DOTALL)
    lines = python(example, tmp_path).splitlines()
    epochs, (metrics, predictions) = lines[:-2], lines[-2:]
    assert [line.split("(")[0] for line in epochs] == ["EpochMetrics"] * 50
    r2 = re.search(r"'r2': ([\d.]+)", metrics)
    assert r2 is not None
    assert float(r2[1]) > 0.7
    assert re.fullmatch(r"\[\d+\.\d+(, \d+\.\d+){4}\]", predictions)
    assert (tmp_path / "model" / "model.safetensors").is_file()


def test_every_setting_is_in_the_table() -> None:
    settings = {f"{PREFIX}{name}".upper() for name in Settings.model_fields} - {"DROPOUT_API_KEY"}
    table = [
        line.split("|")[1] for line in section("Settings").splitlines() if line.startswith("|")
    ]
    assert {name for cell in table for name in re.findall(r"`(DROPOUT_\w+)`", cell)} == settings
