"""What an operator sees of a service: one job in its traces, its metrics and its logs."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import tables
from tests.support.client import finished, submit, upload
from tests.support.collector import Collector, Span
from tests.support.metrics import Samples, scrape, value
from tests.support.service import Service
from tests.support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("services")  # they share what takes long to start

REQUEST_ID = "a-request-of-the-test"
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
STEPS = {"read data", "train", "checkpoint", "evaluate", "save"}


@dataclass(frozen=True)
class Seen:
    service: Service
    collector: Collector
    job: dict[str, Any]

    def lines(self) -> list[dict[str, Any]]:
        """All that its processes have logged; each line has to be JSON."""
        return [json.loads(line) for line in self.service.log().splitlines()]

    def told(self, event: str) -> list[dict[str, Any]]:
        """What its processes have logged of the caller's requests and of what they led to."""
        return [
            line
            for line in self.lines()
            if line["event"] == event and line.get("trace_id") == TRACE
        ]

    def spans(self, name: str) -> list[Span]:
        """Of the caller's trace."""
        return [span for span in self.collector.named(name) if span.trace == TRACE]


@pytest.fixture(scope="module")
def seen(embedded_service: Service, collector: Collector) -> Seen:
    """A service that has run a job, submitted by a caller who traces and names requests."""
    embedded_service.client.headers["X-Request-ID"] = REQUEST_ID
    embedded_service.client.headers["traceparent"] = f"00-{TRACE}-{CALLER}-01"
    return Seen(embedded_service, collector, run_job(embedded_service))


def run_job(service: Service) -> dict[str, Any]:
    dataset = upload(service.client, tables.flowers())
    job = submit(service.client, dataset["id"], "label", training={"epochs": 2})
    return finished(service.client, job["id"])


def test_one_trace_goes_from_the_request_to_the_trainer(seen: Seen) -> None:
    wait_until(lambda: seen.spans("attempt"))
    [request] = seen.spans("POST /v1/jobs")
    [attempt] = seen.spans("attempt")
    steps = [span for span in seen.collector.spans if span.parent == attempt.id]

    assert (request.trace, request.parent) == (TRACE, CALLER)
    assert (attempt.trace, attempt.parent) == (TRACE, request.id)
    assert {span.name for span in steps} == STEPS
    assert {span.trace for span in steps} == {TRACE}
    assert all(span.started_ns <= span.ended_ns for span in (request, attempt, *steps))

    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/jobs",
        "http.response.status_code": 202,
    }
    assert attempt.attributes.pop("dropout.queue.wait_seconds") >= 0
    assert attempt.attributes == {
        "dropout.job.id": seen.job["id"],
        "dropout.job.attempt": 1,
        "dropout.stack.size": 1,
        "dropout.outcome": "succeeded",
        "dropout.reason": "completed",
    }
    assert request.resource["service.name"] == attempt.resource["service.name"] == "dropout-service"
    roles = (request.resource["dropout.role"], attempt.resource["dropout.role"])
    assert roles == ("api", "worker")


def test_probes_are_not_traced(seen: Seen) -> None:
    seen.service.client.get("/readyz")
    seen.service.client.get("/v1/models")
    wait_until(lambda: seen.spans("GET /v1/models"))
    assert not seen.collector.named("GET /readyz")


def test_every_line_says_what_it_belongs_to(seen: Seen) -> None:
    [accepted] = seen.told("job accepted")
    assert (accepted["request_id"], accepted["job"]) == (REQUEST_ID, seen.job["id"])
    [over] = seen.told("attempt over")
    assert (over["job"], over["attempt"], over["state"]) == (seen.job["id"], 1, "succeeded")
    assert accepted["trace_id"] == over["trace_id"] == TRACE


def test_a_request_is_its_callers_and_not_its_proxys(seen: Seen) -> None:
    """The service of these tests trusts proxies of this machine; by default it trusts none."""
    caller = {"X-Forwarded-For": "203.0.113.7", "X-Request-ID": "through-a-proxy"}
    seen.service.client.get("/v1/models", headers=caller)
    seen.service.client.get("/v1/models", headers={"X-Request-ID": "without-a-proxy"})

    def clients() -> dict[str, str]:
        return {line["request_id"]: line["client"] for line in seen.told("request")}

    wait_until(lambda: "without-a-proxy" in clients())
    assert clients()["through-a-proxy"] == "203.0.113.7"
    assert clients()["without-a-proxy"] == "127.0.0.1"


def test_every_request_is_a_line_but_a_probe_that_went_well(seen: Seen) -> None:
    seen.service.client.get("/v1/jobs/%1B[31mred")
    seen.service.client.get("/livez")
    paths = {line["path"] for line in seen.lines() if line["event"] == "request"}
    assert paths.isdisjoint({"/livez", "/readyz", "/metrics"})
    requests = seen.told("request")
    [submission] = [line for line in requests if line["method"] == "POST" and line["status"] == 202]
    assert submission.pop("duration_seconds") > 0
    assert (
        submission.items()
        >= {
            "route": "/v1/jobs",
            "path": "/v1/jobs",
            "request_id": REQUEST_ID,
            "tenant": "default",
            "level": "info",
        }.items()
    )
    assert requests[-1]["path"] == "/v1/jobs/%1B%5B31mred"


def test_the_worker_is_told_of_by_the_api_also_after_it_died(seen: Seen) -> None:
    """And trainers, which come and go, leave no files behind."""
    before = scrape(seen.service.client)
    assert value(before, "dropout_checkpoint_duration_seconds_count") >= 2
    first = seen.service.only("worker")
    first.kill()
    first.wait()
    wait_until(lambda: "restarting it" in seen.service.log(), 60)
    run_job(seen.service)

    def attempts_of(samples: Samples) -> float:
        return value(samples, "dropout_attempts_total", outcome="succeeded", reason="completed")

    # A worker counts an attempt after it has stored how the job ended.
    wait_until(lambda: attempts_of(scrape(seen.service.client)) == attempts_of(before) + 1)
    pids = {first.pid, seen.service.only("worker").pid, seen.service.only("api").pid}
    assert pids_of(seen.service.data_dir / "metrics") <= pids


def pids_of(folder: Path) -> set[int]:
    """Of the processes that have counted something."""
    found = (re.search(r"_(\d+)\.db$", path.name) for path in folder.iterdir())
    return {int(match[1]) for match in found if match}
