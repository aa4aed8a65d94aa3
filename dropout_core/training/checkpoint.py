"""Atomic save and verified load of a training run: one safetensors file, never pickle.

A checkpoint's name holds the position of the run and the file's checksum:
`epoch-000012-batch-000007.<sha256>.safetensors`. The file is written under another name, flushed
and renamed, so that it is always complete. A file whose checksum does not match its name, or whose
metadata names another run, is refused.
"""

import hashlib
import json
import re
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save

from dropout_core.files import write_atomically
from dropout_core.training.state import TrainingState

_NAME = re.compile(r"epoch-(\d{6})-batch-(\d{6})\.([0-9a-f]{64})\.safetensors")
_HEADER_LENGTH_BYTES = 8


class CheckpointError(Exception):
    """The file cannot be read as a checkpoint of this run."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"checkpoint {path.name}: {reason}")
        self.path = path


def position(name: str) -> tuple[int, int] | None:
    """Return the completed epochs and the batches of the next one from a file's name."""
    match = _NAME.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def save_checkpoint(folder: Path, state: TrainingState, *, run: str | None = None) -> Path:
    """Write `state` into `folder`, which is created if missing, and return the new file.

    `run` names the run, so that no other run continues from this checkpoint.
    """
    name, content = checkpoint_file(state, run=run)
    write_atomically(folder / name, content)
    return folder / name


def checkpoint_file(state: TrainingState, *, run: str | None = None) -> tuple[str, bytes]:
    """Return the name and the content of a checkpoint's file."""
    metadata = {"values": json.dumps(state.values, allow_nan=False)}
    if run is not None:
        metadata["run"] = run
    tensors = {name: tensor.cpu().contiguous() for name, tensor in state.tensors.items()}
    content = save(tensors, metadata=metadata)
    epoch, batch = len(state.values["history"]), state.values["batch"]
    digest = hashlib.sha256(content).hexdigest()
    return f"epoch-{epoch:06d}-batch-{batch:06d}.{digest}.safetensors", content


def load_checkpoint(path: Path, *, run: str | None = None) -> TrainingState:
    """Read what `save_checkpoint` wrote.

    Raises CheckpointError if a byte has changed, or if the checkpoint names another run than `run`.
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise CheckpointError(path, "its name is not a checkpoint's name")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(path, str(error)) from error
    if hashlib.sha256(content).hexdigest() != match[3]:
        raise CheckpointError(path, "its content does not match its checksum")
    try:
        # safetensors reads metadata only from a path; the format begins with the header's length.
        header_end = _HEADER_LENGTH_BYTES + int.from_bytes(content[:_HEADER_LENGTH_BYTES], "little")
        header = json.loads(content[_HEADER_LENGTH_BYTES:header_end])
        metadata = header["__metadata__"]
        state = TrainingState(load(content), json.loads(metadata["values"]))
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(path, f"unreadable: {error}") from error
    if run is not None and metadata.get("run", run) != run:  # the first releases wrote no run
        raise CheckpointError(path, "it belongs to another run")
    return state
