"""The benchmark of stacks runs from end to end; what it measures is not judged here."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import stacks


@pytest.fixture(autouse=True)
def _num_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_benchmark_of_stacks_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "CASES", [stacks.Case((4, 5, 2), 8, 1.0)])
    path = tmp_path / "report.json"
    stacks.main(["--rounds", "1", "--seconds", "0.005", "--threads", "1", "--json", str(path)])
    report = json.loads(path.read_text())
    assert [goal["bound"] for goal in report["goals"]] == [1.0]
    assert report["goals"][0]["values"]
