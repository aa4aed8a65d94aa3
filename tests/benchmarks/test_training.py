"""The training benchmark runs from end to end; what it measures is not judged here."""

import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from benchmarks import contenders, peers, rounds, training
from benchmarks.peer_process import Peer, PeerFailed

ARGUMENTS = "--hidden 8 4 --hidden-p 0.2 0.5 --input-p 0 --batch-size 16 --learning-rate 0.05"


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """Of a peer, with 40 rows."""
    features = np.random.default_rng(0).random((40, 6), dtype=np.float32)
    np.savez(tmp_path / "rows.npz", features=features, targets=np.arange(40) % 10)
    return ["--rows", str(tmp_path / "rows.npz"), *ARGUMENTS.split()]


@pytest.fixture
def num_threads() -> Iterator[int]:
    """The benchmark sets torch's number of threads; put it back."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def run(*more: str, cases: str = "256-256-10, p 0.2/0.5, batch 100") -> None:
    training.main(["--rounds", "2", "--seconds", "0.005", "--cases", cases, *more])


@pytest.fixture
def report(
    tmp_path: Path,
    num_threads: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> dict[str, Any]:
    """Of a run on digits, without peers; `printed` is what it printed."""
    monkeypatch.delenv("DROPOUT_DATA_DIR", raising=False)
    path = tmp_path / "report.json"
    run("--threads", str(num_threads), "--peers", str(tmp_path / "none"), "--json", str(path))
    report: dict[str, Any] = json.loads(path.read_text())
    return report | {"printed": capsys.readouterr().out}


def test_a_run_reports_every_contender_against_every_other(report: dict[str, Any]) -> None:
    assert report["data"] == "digits"
    section = report["sections"]["256-256-10, p 0.2/0.5, batch 100"]
    contenders = set(section["rows_per_second"])
    assert {"library", "library, bfloat16", "torch, nn.Dropout", "dense products"} <= contenders
    for name, ratios in section["ratios"].items():
        assert set(ratios) == contenders - {name}
        assert all(0 < r["low"] <= r["median"] <= r["high"] for r in ratios.values())
        assert f"\n{name} " in report["printed"]


def test_absent_peers_and_goals_without_a_measurement_are_skipped_with_the_reason(
    report: dict[str, Any],
) -> None:
    section = report["sections"]["256-256-10, p 0.2/0.5, batch 100"]
    assert set(section["skipped"]) == set(contenders.PEERS)
    assert "skipped: no environment with the peers: run `make bench-peers`" in report["printed"]
    verdicts = [goal["verdict"] for goal in report["goals"]]
    assert set(verdicts[:2]) <= {"met", "missed"}
    assert set(verdicts[2:]) == {"skipped: its case was not selected"}


def test_a_peer_trains_as_often_as_asked_and_ends_when_nobody_asks(arguments: list[str]) -> None:
    with closing(Peer(Path(sys.executable), ["scikit-learn", *arguments], threads=1)) as peer:
        process = psutil.Process(peer.pid)
        assert set(peer.wait()) == {"numpy", "sklearn"}
        assert peer.train(2) > 0
        assert peer.train(5) > 0  # more rows than there are
    assert not process.is_running()


def test_a_peer_that_is_not_installed_says_so(arguments: list[str]) -> None:
    with (
        closing(Peer(Path(sys.executable), ["skorch", *arguments], threads=1)) as peer,
        pytest.raises(PeerFailed, match="No module named 'skorch'"),
    ):
        peer.wait()


def test_a_peer_that_dies_is_left_out_with_its_last_words(arguments: list[str]) -> None:
    with closing(Peer(Path(sys.executable), ["scikit-learn", *arguments], threads=1)) as peer:
        peer.wait()
        psutil.Process(peer.pid).kill()
        by_name = {
            "peer": rounds.Contender(peer.train),
            "other": rounds.Contender(lambda num_batches: num_batches * 1e-3),
        }
        section = rounds.measure(by_name, rows_per_batch=1, num_rounds=2, seconds=0.01)
    assert section.skipped == {"peer": "ended with status -9"}
    assert section.rates["other"] == {0: pytest.approx(1000), 1: pytest.approx(1000)}


def test_the_seconds_of_h2o_are_those_of_its_second_iteration() -> None:
    class History:
        col_header = ("", "training_speed", "samples")
        cell_values = (("", None, 0.0), ("", "100 obs/sec", 100.0), ("", "150 obs/sec", 300.0))

    # a second for the first hundred rows, another for the next two hundred
    assert peers._h2o_seconds_per_row(History()) == pytest.approx(1 / 200)
