"""Run an export in a process of its own, so that serving keeps its time and its memory."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

from dropout_core.errors import ModelError
from dropout_core.files import NO_SPACE

Format = Literal["safetensors", "onnx", "torch"]

SUFFIXES: dict[Format, str] = {"safetensors": ".zip", "onnx": ".onnx", "torch": ".pt2"}

MAX_ONNX_BYTES = 2**31 - 2**26  # of weights: a protobuf message is limited to 2 GiB
SECONDS = 300.0  # hundreds of megabytes take most of a minute

# Exit statuses, besides ENOSPC for a full disk.
MODEL_REFUSED = 3
TOO_LARGE = 4
MODEL_DELETED = 5


def export(folder: Path, target: Path, export_format: Format) -> None:
    """Export the model in `folder` to `target`, checked and complete, or not at all.

    Raises ModelError if the model cannot be exported in this format or within the limits,
    FileNotFoundError if it was deleted, and OSError if the disk is full.
    """
    command = [sys.executable, "-m", "dropout_core.export", str(folder), str(target), export_format]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired as error:
        detail = f"the export takes more than its limit of {SECONDS:g} s"
        raise ModelError(detail) from error
    status = done.returncode
    if status == errno.ENOSPC:
        raise OSError(errno.ENOSPC, NO_SPACE)
    if status == MODEL_DELETED:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    if status == MODEL_REFUSED:
        raise ModelError(done.stdout.strip())
    if status == TOO_LARGE:
        raise ModelError("the export takes more memory than its limit")
    if status != 0:
        raise RuntimeError(f"the export process ended with status {status}: {done.stderr}")
