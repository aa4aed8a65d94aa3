"""Atomic save and verified load of a training run: one safetensors file, never pickle.

A checkpoint's name says where the run stood and what the file holds:
`epoch-000012-batch-000007.<sha256>.safetensors`. It is written aside, flushed, and renamed, so a
name that exists belongs to a whole file; a file that does not hash to its name is refused, and so
is one that says it is of another run.
"""

import hashlib
import json
import re
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save

from dropout_core.files import write_atomically
from dropout_core.training.loop import TrainingState

_NAME = re.compile(r"epoch-(\d{6})-batch-(\d{6})\.([0-9a-f]{64})\.safetensors")
_HEADER_LENGTH_BYTES = 8


class CheckpointError(Exception):
    """The file is not the checkpoint that its name promises."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"checkpoint {path.name}: {reason}")
        self.path = path


def position(name: str) -> tuple[int, int] | None:
    """Epochs completed and batches of the next, read off a checkpoint's file name."""
    match = _NAME.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def save_checkpoint(folder: Path, state: TrainingState, *, run: str | None = None) -> Path:
    """Write `state` into `folder`, made if it is not there, and return the new file.

    `run` names what is trained, so that nothing else goes on from it.
    """
    metadata = {"values": json.dumps(state.values, allow_nan=False)}
    if run is not None:
        metadata["run"] = run
    tensors = {name: tensor.cpu().contiguous() for name, tensor in state.tensors.items()}
    content = save(tensors, metadata=metadata)
    epoch, batch = len(state.values["history"]), state.values["batch"]
    digest = hashlib.sha256(content).hexdigest()
    path = folder / f"epoch-{epoch:06d}-batch-{batch:06d}.{digest}.safetensors"
    write_atomically(path, content)
    return path


def load_checkpoint(path: Path, *, run: str | None = None) -> TrainingState:
    """Read what `save_checkpoint` wrote. Raises CheckpointError unless every byte is as written.

    Also if it says that it is of another run than this one, if there is one.
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise CheckpointError(path, "not a checkpoint's name")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(path, str(error)) from error
    if hashlib.sha256(content).hexdigest() != match[3]:
        raise CheckpointError(path, "its content does not match its checksum")
    try:
        # safetensors reads metadata from files alone; its format puts the header's length first.
        header_end = _HEADER_LENGTH_BYTES + int.from_bytes(content[:_HEADER_LENGTH_BYTES], "little")
        header = json.loads(content[_HEADER_LENGTH_BYTES:header_end])
        metadata = header["__metadata__"]
        state = TrainingState(load(content), json.loads(metadata["values"]))
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(path, f"unreadable: {error}") from error
    if run is not None and metadata.get("run", run) != run:  # the first releases did not say
        raise CheckpointError(path, "it is of another run")
    return state
