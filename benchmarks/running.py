"""Start a service to measure, with a temporary data directory and a free port, and use it."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

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


def cpu_seconds(pid: int) -> float:
    """CPU seconds of the process and its children, 0 if it has ended."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return sum(sum(each.cpu_times()[:2]) for each in family)
    except psutil.NoSuchProcess:
        return 0.0


def upload(client: httpx.Client, table: bytes | BinaryIO) -> str:
    """Upload a CSV file; return the id of the dataset."""
    response = client.post("/v1/datasets", files={"file": ("table.csv", table)})
    return str(response.raise_for_status().json()["id"])


def submit(client: httpx.Client, dataset: str, **job: Any) -> str:
    """Submit a job that learns the column `label`; return its id."""
    job["dataset"] = {"id": dataset, "target": "label"}
    return str(client.post("/v1/jobs", json=job).raise_for_status().json()["id"])


def train(client: httpx.Client, dataset: str, **job: Any) -> str:
    """Submit a job and wait for its end; return the id of the model."""
    path = f"/v1/jobs/{submit(client, dataset, **job)}"
    while (answer := client.get(path).raise_for_status().json())["model"] is None:
        if answer["state"] in ("failed", "cancelled"):
            raise RuntimeError(f"the job ended as {answer['state']}: {answer['state_reason']}")
        time.sleep(0.02)
    return str(answer["model"])
