"""Exports run in a process of their own: who serves is not kept from it, nor from its memory."""

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

MAX_ONNX_BYTES = 2**31 - 2**26  # of weights: a message of protobuf ends at 2 GiB
SECONDS = 300.0  # hundreds of megabytes take most of a minute

# Exit statuses, beside that of a full disk.
REFUSED = 3
TOO_LARGE = 4
GONE = 5


def export(folder: Path, target: Path, chosen: Format) -> None:
    """Write the model that lies in `folder` to `target`, which is checked, or not there.

    Raises ModelError if the model cannot be had in this format or takes more than an export may,
    FileNotFoundError if it is gone, and OSError if the disk is full.
    """
    command = [sys.executable, "-m", "dropout_core.export", str(folder), str(target), chosen]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired as error:
        detail = f"the export takes more than the {SECONDS:g} s that it may"
        raise ModelError(detail) from error
    status = done.returncode
    if status == errno.ENOSPC:
        raise OSError(errno.ENOSPC, NO_SPACE)
    if status == GONE:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    if status == REFUSED:
        raise ModelError(done.stdout.strip())
    if status == TOO_LARGE:
        raise ModelError("the export takes more memory than it may")
    if status != 0:
        raise RuntimeError(f"an export ended with the status {status}: {done.stderr}")
