"""`python -m dropout_core.export FOLDER TARGET FORMAT`: write the file, within limits.

A model's error is printed; the exit status tells the type of failure (see `process`).
"""

import errno
import os
import resource
import signal
import sys
from pathlib import Path

import torch

from dropout_core.errors import ModelError
from dropout_core.export.check import Check
from dropout_core.export.process import MODEL_DELETED, MODEL_REFUSED, SECONDS, TOO_LARGE
from dropout_core.files import is_disk_full
from dropout_core.model.saved_model import WEIGHTS, load_model

_NICENESS = 10  # serving has priority
_GRACE_SECONDS = 5  # then the process ends itself, if its parent did not end it
_BYTES = 1536 * 2**20  # for importing and tracing, whatever the model
_COPIES = 12  # of the weights: the model, the check's models, and the file in memory


def attempt(folder: Path, target: Path, export_format: str) -> int:
    """Export, and return the exit status; print a model's error."""
    try:
        _export(folder, target, export_format)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "can't allocate memory" not in str(error):
            raise
        return TOO_LARGE
    except (ModelError, OSError) as error:
        if is_disk_full(error):
            return errno.ENOSPC
        if isinstance(error.__cause__ or error, FileNotFoundError):  # just deleted
            return MODEL_DELETED
        if not isinstance(error, ModelError):
            raise
        print(error)  # noqa: T201
        return MODEL_REFUSED
    return 0


def _limit(folder: Path) -> None:
    os.nice(_NICENESS)
    signal.setitimer(signal.ITIMER_REAL, SECONDS + _GRACE_SECONDS)  # SIGALRM ends the process
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    weights = folder / WEIGHTS
    num_bytes = _BYTES + _COPIES * (weights.stat().st_size if weights.exists() else 0)
    resource.setrlimit(resource.RLIMIT_DATA, (num_bytes, num_bytes))
    torch.set_num_threads(1)  # as in the service: bits depend on it


def _export(folder: Path, target: Path, export_format: str) -> None:
    model, manifest = load_model(folder)
    check = Check(model, manifest)
    # Each format imports only what it needs.
    match export_format:
        case "safetensors":
            from dropout_core.export.archive import write_archive

            write_archive(folder, target, check=check)
        case "onnx":
            from dropout_core.export.onnx_model import write_onnx

            write_onnx(model, manifest, target, check=check)
        case "torch":
            from dropout_core.export.program import write_program

            write_program(manifest, target, check=check)
        case _:
            raise ModelError(f"there is no format {export_format!r}")


if __name__ == "__main__":
    _limit(Path(sys.argv[1]))
    sys.exit(attempt(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
