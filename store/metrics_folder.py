"""Where the processes of one service put their numbers, so that any of them answers for all.

prometheus_client goes by the variable from its import on: with it, instruments count in files of
the folder, one of each process, and those of a process that is gone stay in the sum.
"""

import os
import shutil
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def fresh(data_dir: Path) -> dict[str, str]:
    """Make the folder anew, and the environment that sends processes there.

    Only for who holds the lock of the data directory: what another process counts would be lost.
    """
    folder = data_dir.absolute() / "metrics"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return {VARIABLE: str(folder)}


def given() -> str | None:
    """The folder that this process was sent to; None if it counts for itself, in memory."""
    return os.environ.get(VARIABLE)
