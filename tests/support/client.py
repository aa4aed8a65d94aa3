"""The service as its callers see it."""

import io
from typing import Any, Self

import httpx

from tests.support.waiting import wait_until
from tests.support.worker_examples import MODEL, TRAINING, Result, repeatable, table

OVER = ("succeeded", "failed", "cancelled")
JOB_SECONDS = 90


class Client:
    """A caller of the service, for the length of a `with`."""

    def __init__(self, address: str, *, key: str | None = None) -> None:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=address, headers=headers, timeout=30, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def is_ready(self) -> bool:
        return any(answer.status_code == 200 for answer in self._try_to_get("/readyz", {}))

    def get(self, path: str, **parameters: Any) -> Any:
        """The answer; asked again if the process that was to give it is gone."""
        [response] = wait_until(lambda: self._try_to_get(path, parameters), JOB_SECONDS)
        return response.raise_for_status().json()

    def post(self, path: str, **request: Any) -> Any:
        return self._http.post(path, **request).raise_for_status().json()

    def request(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The answer, whatever it says."""
        return self._http.request(method, path, **request)

    def delete(self, path: str) -> None:
        self._http.delete(path).raise_for_status()

    def upload(self) -> str:
        """The table that all tests learn from; its id."""
        content = io.BytesIO()
        table().write_csv(content)
        files = {"file": ("signs.csv", content.getvalue())}
        return str(self.post("/v1/datasets", files=files)["id"])

    def submit(self, **training: Any) -> str:
        """The job that all tests run; its id."""
        job = {
            "dataset": {"id": self.upload(), "target": "label"},
            "model": MODEL,
            "training": {**TRAINING, **training},
        }
        answer = self._http.post("/v1/jobs", json=job)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.get(f"/v1/jobs/{job_id}")
        return answer

    def cancel(self, job_id: str) -> None:
        self.post(f"/v1/jobs/{job_id}/cancel")

    def wait_for_epoch(self, job_id: str, epoch: int) -> None:
        wait_until(lambda: self._epochs_completed(job_id) >= epoch, JOB_SECONDS)

    def wait_until_over(self, job_id: str) -> dict[str, Any]:
        wait_until(lambda: self.job(job_id)["state"] in OVER, JOB_SECONDS)
        return self.job(job_id)

    def events(self, job_id: str) -> list[dict[str, Any]]:
        """What happened to the job, page after page."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.get(
                f"/v1/jobs/{job_id}/events", after=found[-1]["id"] if found else 0, limit=100
            )
            found += page["data"]
            if not page["has_more"]:
                return found

    def result(self, job_id: str) -> Result:
        """What the job came to; AssertionError unless that is one model."""
        job = self.wait_until_over(job_id)
        assert job["state"] == "succeeded", job
        every = self.get("/v1/models", limit=100)["data"]
        [model] = [model for model in every if model["job"] == job_id]
        return Result(
            weights_sha256=model["weights_sha256"],
            metrics=model["metrics"],
            history=repeatable(self.get(f"/v1/jobs/{job_id}/metrics")),
            epochs_announced=[
                event["data"]["epoch"] for event in self.events(job_id) if event["type"] == "epoch"
            ],
        )

    def predicts(self, job_id: str) -> bool:
        """Whether the job's model answers, with classes of its table."""
        model_id = self.job(job_id)["model"]
        instances = [{"x": 1.5, "y": 1.5}, {"x": 1.5, "y": -1.5}]
        answer = self.post(f"/v1/models/{model_id}/predict", json={"instances": instances})
        return bool(answer["predictions"] == ["same", "other"])

    def _epochs_completed(self, job_id: str) -> int:
        return int(self.job(job_id)["progress"]["epochs_completed"])

    def _try_to_get(self, path: str, parameters: dict[str, Any]) -> list[httpx.Response]:
        try:
            return [self._http.get(path, params=parameters)]
        except httpx.TransportError:
            return []
