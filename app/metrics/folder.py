"""Where API processes that share a port put their numbers, so that any of them answers for all."""

import shutil
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client goes by it from its import on


def fresh(data_dir: Path) -> dict[str, str]:
    """Make the folder anew, and the environment that sends processes there.

    Only for who holds the lock of the data directory: what another process counts would be lost.
    """
    folder = data_dir.absolute() / "metrics"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return {VARIABLE: str(folder)}
