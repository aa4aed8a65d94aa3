import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dropout_core.training.checkpoint import (
    CheckpointError,
    load_checkpoint,
    position,
    save_checkpoint,
)
from dropout_core.training.state import TrainingState
from tests.support.training_runs import made_state


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("run"), made_state())


def test_a_state_comes_back_as_it_was(checkpoint: Path) -> None:
    state, loaded = made_state(), load_checkpoint(checkpoint)
    # The clock alone differs between two runs of the same seed.
    for values in (state.values, loaded.values):
        values["seconds"] = values["history"][0]["samples_per_second"] = 0.0
    assert loaded.values == json.loads(json.dumps(state.values))
    assert loaded.tensors.keys() == state.tensors.keys()
    for name, tensor in state.tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert torch.equal(loaded.tensors[name], tensor)


def test_a_name_says_where_the_run_stood(checkpoint: Path) -> None:
    assert checkpoint.name.startswith("epoch-000001-batch-000002.")
    assert position(checkpoint.name) == (1, 2)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "model.safetensors",
        f"epoch-1-batch-2.{'0' * 64}.safetensors",
        f"epoch-000001-batch-000002.{'0' * 63}.safetensors",
        f"epoch-000001-batch-000002.{'G' * 64}.safetensors",
        f".epoch-000001-batch-000002.{'0' * 64}.safetensors.17",
        f"epoch-000001-batch-000002.{'0' * 64}.safetensors\n",
    ],
)
def test_other_names_are_no_checkpoints(tmp_path: Path, name: str) -> None:
    assert position(name) is None
    with pytest.raises(CheckpointError, match="not a checkpoint's name"):
        load_checkpoint(tmp_path / (name or "file"))


def test_a_checkpoint_that_is_not_there_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file") as caught:
        load_checkpoint(tmp_path / checkpoint.name)
    assert caught.value.path == tmp_path / checkpoint.name


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(deadline=None)
def test_any_flipped_bit_is_refused(
    checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, place: float, bit: int
) -> None:
    content = bytearray(checkpoint.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    refuse(tmp_path_factory.mktemp("flipped") / checkpoint.name, bytes(content))


@given(share=st.floats(0, 1, exclude_max=True))
@settings(deadline=None)
def test_any_truncation_is_refused(
    checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, share: float
) -> None:
    content = checkpoint.read_bytes()
    refuse(tmp_path_factory.mktemp("cut") / checkpoint.name, content[: int(share * len(content))])


def refuse(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="does not match its checksum"):
        load_checkpoint(path)


def test_what_is_not_safetensors_is_refused_even_with_the_right_checksum(tmp_path: Path) -> None:
    for content in (b"", b"short", b"\xff" * 8, (2).to_bytes(8, "little") + b"{}", b"\x80\x04."):
        digest = hashlib.sha256(content).hexdigest()
        path = tmp_path / f"epoch-000001-batch-000002.{digest}.safetensors"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="unreadable"):
            load_checkpoint(path)


def test_values_that_are_not_json_are_refused_and_never_pickled(tmp_path: Path) -> None:
    for value, error in ((object(), TypeError), (float("nan"), ValueError)):
        state = TrainingState({}, {"history": [], "batch": 0, "value": value})
        with pytest.raises(error):
            save_checkpoint(tmp_path, state)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_a_json_header_and_numbers(checkpoint: Path) -> None:
    content = checkpoint.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    json.loads(header.pop("__metadata__")["values"])
    sizes = [end - start for start, end in (entry["data_offsets"] for entry in header.values())]
    assert 8 + length + sum(sizes) == len(content)


# The kernel, not a fake, fails the write: no file of this process may grow beyond 1000 bytes.
SAVE_TOO_MUCH = """
import resource, signal, sys
from pathlib import Path
import torch
from dropout_core.training.checkpoint import save_checkpoint
from dropout_core.training.state import TrainingState

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    save_checkpoint(
        Path(sys.argv[1]), TrainingState({"a": torch.ones(9999)}, {"history": [], "batch": 0})
    )
except OSError as error:
    sys.exit(error.strerror)
"""


def test_a_write_that_fails_leaves_the_checkpoints_that_were_there_and_no_other(
    checkpoint: Path,
) -> None:
    before = {path: path.read_bytes() for path in checkpoint.parent.iterdir()}
    command = [sys.executable, "-c", SAVE_TOO_MUCH, str(checkpoint.parent)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.stderr.strip() == "File too large"
    assert {path: path.read_bytes() for path in checkpoint.parent.iterdir()} == before


def test_the_same_state_has_the_same_name(tmp_path: Path) -> None:
    state = made_state()
    assert save_checkpoint(tmp_path, state) == save_checkpoint(tmp_path, state)
    assert len(list(tmp_path.iterdir())) == 1
