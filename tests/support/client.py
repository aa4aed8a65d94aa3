"""The service as its callers see it."""

import io
import json
from collections.abc import Iterator
from typing import Any

import httpx

from tests.support.waiting import wait_until
from tests.support.worker_examples import MODEL, TRAINING, Result, repeatable, table

OVER = ("succeeded", "failed", "cancelled")
JOB_SECONDS = 90


class Client(httpx.Client):
    """A caller of the service, and what the tests of a whole service ask again and again."""

    def __init__(self, address: str, *, key: str | None = None) -> None:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        # To load the certificates of the machine, which HTTP has no use for, takes 50 ms.
        super().__init__(
            base_url=address, headers=headers, timeout=30, trust_env=False, verify=False
        )

    def is_ready(self) -> bool:
        """Return whether the service answers and calls itself ready."""
        return any(answer.status_code == 200 for answer in self._try_to_get("/readyz", {}))

    def read(self, path: str, **parameters: Any) -> Any:
        """Return the JSON at a path; ask again while no process answers."""
        [response] = wait_until(lambda: self._try_to_get(path, parameters), JOB_SECONDS)
        return response.raise_for_status().json()

    def create(self, path: str, **request: Any) -> Any:
        """Return the JSON that answers a POST. Raises AssertionError if it is refused."""
        response = self.post(path, **request)
        assert response.is_success, response.text
        return response.json()

    def upload(self) -> str:
        """Upload the table of `worker_examples` and return its id."""
        content = io.BytesIO()
        table().write_csv(content)
        return str(upload(self, content.getvalue())["id"])

    def submit(self, **training: Any) -> str:
        """Submit the job of `worker_examples` on a new dataset and return its id."""
        job = {
            "dataset": {"id": self.upload(), "target": "label"},
            "model": MODEL,
            "training": {**TRAINING, **training},
        }
        return str(self.create("/v1/jobs", json=job)["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.read(f"/v1/jobs/{job_id}")
        return answer

    def cancel(self, job_id: str, **request: Any) -> None:
        self.create(f"/v1/jobs/{job_id}/cancel", **request)

    def wait_for_epoch(self, job_id: str, epoch: int) -> None:
        wait_until(lambda: self._epochs_completed(job_id) >= epoch, JOB_SECONDS)

    def wait_until_over(self, job_id: str) -> dict[str, Any]:
        wait_until(lambda: self.job(job_id)["state"] in OVER, JOB_SECONDS)
        return self.job(job_id)

    def events(self, job_id: str) -> list[dict[str, Any]]:
        """Return all events of the job, page after page."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.read(
                f"/v1/jobs/{job_id}/events", after=found[-1]["id"] if found else 0, limit=100
            )
            found += page["data"]
            if not page["has_more"]:
                return found

    def result(self, job_id: str) -> Result:
        """Return what the job ended with. Raises AssertionError unless that is one model."""
        job = self.wait_until_over(job_id)
        assert job["state"] == "succeeded", job
        every = self.read("/v1/models", limit=100)["data"]
        [model] = [model for model in every if model["job"] == job_id]
        return Result(
            weights_sha256=model["weights_sha256"],
            metrics=model["metrics"],
            history=repeatable(self.read(f"/v1/jobs/{job_id}/metrics")),
            epochs_announced=[
                event["data"]["epoch"] for event in self.events(job_id) if event["type"] == "epoch"
            ],
        )

    def predicts(self, job_id: str) -> bool:
        """Return whether the job's model predicts the classes of its table."""
        model_id = self.job(job_id)["model"]
        instances = [{"x": 1.5, "y": 1.5}, {"x": 1.5, "y": -1.5}]
        answer = self.create(f"/v1/models/{model_id}/predict", json={"instances": instances})
        return bool(answer["predictions"] == ["same", "other"])

    def _epochs_completed(self, job_id: str) -> int:
        return int(self.job(job_id)["progress"]["epochs_completed"])

    def _try_to_get(self, path: str, parameters: dict[str, Any]) -> list[httpx.Response]:
        try:
            return [self.get(path, params=parameters)]
        except httpx.TransportError:
            return []


def upload(client: httpx.Client, table: bytes, **options: Any) -> dict[str, Any]:
    """Upload a file and return its dataset."""
    response = client.post("/v1/datasets", files={"file": ("table", table)}, **options)
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


def submit(
    client: httpx.Client, dataset_id: str, target: str | list[str], **job: Any
) -> dict[str, Any]:
    """Submit a job and return it; `dataset` in `job` adds to the dataset's id and target."""
    dataset = {"id": dataset_id, "target": target} | job.pop("dataset", {})
    response = client.post("/v1/jobs", json={"dataset": dataset, **job})
    assert response.status_code == 202, response.text
    answer: dict[str, Any] = response.json()
    return answer


def train(
    client: httpx.Client, dataset_id: str, target: str | list[str], **job: Any
) -> dict[str, Any]:
    """Submit a job and return it once it is over."""
    job_id = submit(client, dataset_id, target, **job)["id"]
    return finished(client, job_id)


def finished(client: httpx.Client, job_id: str) -> dict[str, Any]:
    """Wait until the job is over and return it."""
    list(events(client, job_id))
    answer: dict[str, Any] = client.get(f"/v1/jobs/{job_id}").json()
    return answer


def events(
    client: httpx.Client, job_id: str, *, last_event_id: int | None = None, kind: str = "jobs"
) -> Iterator[dict[str, Any]]:
    """Yield `id`, `event` and `data` of events from the job's stream, or the sweep's."""
    headers = {"Accept": "text/event-stream"}
    if last_event_id is not None:
        headers["Last-Event-ID"] = str(last_event_id)
    with client.stream("GET", f"/v1/{kind}/{job_id}/events", headers=headers) as response:
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
