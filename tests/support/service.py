"""The service as its users run it, and what they do with it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

COMMAND = str(Path(sys.executable).with_name("dropout-service"))
END_SECONDS = 30

SETTINGS = {
    "max_upload_bytes": 200_000,
    "max_request_bytes": 100_000,
    "max_training_bytes": 50_000_000,
    "concurrency": 1,
    "threads_per_job": 1,
}


def environment(**settings: object) -> dict[str, str]:
    """The environment with these settings of the service, and none that the tests started with."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DROPOUT_")}
    return kept | {f"DROPOUT_{name}".upper(): str(value) for name, value in settings.items()}


class Service:
    """`serve` on a free port, for the length of a `with`."""

    def __init__(self, data_dir: Path, **settings: object) -> None:
        self.data_dir = data_dir
        self.log = data_dir.with_name(f"{data_dir.name}.log")
        self._settings = SETTINGS | settings

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "app", "serve", "--port", "0"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--data-dir", str(self.data_dir)],
                env=environment(**self._settings),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # a process group that a test may signal as a terminal does
            )
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline()
        if not self.first_line:
            self.__exit__()
            raise RuntimeError(f"the service did not start: {self.log.read_text()}")
        self.address = self.first_line.split()[-1]
        self.client = httpx.Client(base_url=self.address, timeout=30)
        return self

    def __exit__(self, *_error: object) -> None:
        if hasattr(self, "client"):
            self.client.close()
        self.end(signal.SIGTERM)

    def end(self, number: signal.Signals) -> str:
        """Signal the service and wait; what else it has said on its standard output."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        assert self.process.stdout is not None
        if self.process.stdout.closed:
            return ""
        with self.process.stdout:
            rest = self.process.stdout.read()
        self.process.wait(END_SECONDS)
        return rest

    def processes(self) -> list[psutil.Process]:
        """All that it has started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, role: str) -> psutil.Process:
        """The API process or the worker."""
        (found,) = [
            child
            for child in psutil.Process(self.process.pid).children()
            if role in child.cmdline()
        ]
        return found


def upload(client: httpx.Client, table: bytes, **options: Any) -> dict[str, Any]:
    """The dataset made of a file."""
    response = client.post("/v1/datasets", files={"file": ("table", table)}, **options)
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


def submit(
    client: httpx.Client, dataset_id: str, target: str | list[str], **job: Any
) -> dict[str, Any]:
    """The job, as accepted; `dataset` of `job` adds to these two facts of it."""
    dataset = {"id": dataset_id, "target": target} | job.pop("dataset", {})
    response = client.post("/v1/jobs", json={"dataset": dataset, **job})
    assert response.status_code == 202, response.text
    answer: dict[str, Any] = response.json()
    return answer


def train(
    client: httpx.Client, dataset_id: str, target: str | list[str], **job: Any
) -> dict[str, Any]:
    """The job once it is over."""
    job_id = submit(client, dataset_id, target, **job)["id"]
    return finished(client, job_id)


def finished(client: httpx.Client, job_id: str) -> dict[str, Any]:
    """The job, as soon as it is over."""
    list(events(client, job_id))
    answer: dict[str, Any] = client.get(f"/v1/jobs/{job_id}").json()
    return answer


def events(
    client: httpx.Client, job_id: str, *, last_event_id: int | None = None
) -> Iterator[dict[str, Any]]:
    """The job's events as they happen, from the stream: `id`, `event` and `data` of each."""
    headers = {"Accept": "text/event-stream"}
    if last_event_id is not None:
        headers["Last-Event-ID"] = str(last_event_id)
    with client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        fields: dict[str, Any] = {}
        for line in response.iter_lines():
            name, _, value = line.partition(": ")
            if name:
                fields[name] = json.loads(value) if name in ("data", "id") else value
            elif fields:
                yield fields
                fields = {}


def wait_for_event(client: httpx.Client, job_id: str, event: str) -> None:
    """Return once the job has had such an event."""
    stream = events(client, job_id)
    assert any(fields["event"] == event for fields in stream)
    stream.close()  # type: ignore[attr-defined]
