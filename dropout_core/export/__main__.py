"""`python -m dropout_core.export FOLDER TARGET FORMAT`: make the file, within limits.

What is wrong with a model is printed; the exit status tells what went wrong (see `process`).
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
from dropout_core.export.process import GONE, REFUSED, SECONDS, TOO_LARGE
from dropout_core.files import is_disk_full
from dropout_core.model.saved_model import WEIGHTS, load_model

_NICENESS = 10  # who serves goes first
_GRACE_SECONDS = 5  # after its time a process ends itself if nobody is left to do it
_BYTES = 1536 * 2**20  # what importing and tracing takes, whatever the model
_COPIES = 12  # of the weights: the model, those it is checked by, and the file in memory


def attempt(folder: Path, target: Path, chosen: str) -> int:
    """Export, and tell how that went; what is wrong with a model is printed."""
    try:
        _export(folder, target, chosen)
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "can't allocate memory" not in str(error):
            raise
        return TOO_LARGE
    except (ModelError, OSError) as error:
        if is_disk_full(error):
            return errno.ENOSPC
        if isinstance(error.__cause__ or error, FileNotFoundError):  # deleted a moment ago
            return GONE
        if not isinstance(error, ModelError):
            raise
        print(error)  # noqa: T201
        return REFUSED
    return 0


def _limit(folder: Path) -> None:
    os.nice(_NICENESS)
    signal.setitimer(signal.ITIMER_REAL, SECONDS + _GRACE_SECONDS)  # its signal is deadly
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    weights = folder / WEIGHTS
    num_bytes = _BYTES + _COPIES * (weights.stat().st_size if weights.exists() else 0)
    resource.setrlimit(resource.RLIMIT_DATA, (num_bytes, num_bytes))
    torch.set_num_threads(1)  # as the service does, whose bits depend on it


def _export(folder: Path, target: Path, chosen: str) -> None:
    model, manifest = load_model(folder)
    check = Check(model, manifest)
    # What one format needs is not loaded for another.
    match chosen:
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
            raise ModelError(f"there is no format {chosen!r}")


if __name__ == "__main__":
    _limit(Path(sys.argv[1]))
    sys.exit(attempt(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
