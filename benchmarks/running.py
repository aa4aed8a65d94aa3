"""Start a service to measure, with a temporary data directory and a free port."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

STOP_SECONDS = 60
ANSWER_SECONDS = 600


@contextmanager
def running_service(
    *, checkout: Path | None = None, **settings: object
) -> Iterator[tuple[psutil.Process, httpx.Client]]:
    """Yield the process of a service that is ready, and a client for it.

    The service is that of this checkout, or of another one with the environment in its `.venv`.
    """
    python = sys.executable if checkout is None else str(checkout / ".venv" / "bin" / "python")
    chosen = {f"DROPOUT_{name}".upper(): str(value) for name, value in settings.items()}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        process = subprocess.Popen(
            [python, "-m", "app", "serve", "--port", "0", "--data-dir", folder],
            cwd=checkout,
            env=os.environ | chosen,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        try:
            address = process.stdout.readline().split()[-1]
            with httpx.Client(base_url=address, timeout=ANSWER_SECONDS, trust_env=False) as client:
                yield psutil.Process(process.pid), client
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)
            process.stdout.close()
