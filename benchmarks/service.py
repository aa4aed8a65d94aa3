"""Measure how fast the embedded service starts, answers and stops, and its CPU time when idle.

    python -m benchmarks.service [--json FILE]

starts its own service with a temporary data directory, prints a table of the results and, with
--json, writes them as JSON. Times between two events of a job are measured by the service's own
clock, so the requests add nothing to them.
"""

import os
import statistics
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import numpy as np
import polars as pl
import psutil

from benchmarks.options import option_parser, write_report
from benchmarks.run_folder import benchmark_run
from benchmarks.running import cpu_seconds, running_service, train, upload
from benchmarks.running import submit as submit_job

NUM_RUNNING = 4
NUM_SUBMITTED = 200
NUM_JOBS = 10
IDLE_SECONDS = 30
POLL_SECONDS = 0.02

ENDLESS = 100_000  # epochs, more than any measurement takes

Numbers = dict[str, float]


def main() -> None:
    options = option_parser(__doc__).parse_args()
    with running_service(concurrency=NUM_RUNNING) as (process, client):
        dataset = upload(client, _table_of_numbers())
        train(client, dataset, **_job(epochs=1))  # starts processes that later jobs use
        numbers = {
            "machine": _machine(),
            "idle": idle(process),
            "first_epoch": first_epoch(client, dataset),
            "cancel": cancel(client, dataset),
            "submit": submit(client, dataset),
        }
    print(_table(numbers))
    write_report(numbers, options)


def idle(process: psutil.Process) -> Numbers:
    """Measure the CPU time of all processes of a service without jobs, in percent of one core."""
    before = cpu_seconds(process.pid)
    time.sleep(IDLE_SECONDS)
    used = cpu_seconds(process.pid) - before
    return {"cpu_percent": 100 * used / IDLE_SECONDS, "seconds": IDLE_SECONDS}


def first_epoch(client: httpx.Client, dataset: str) -> Numbers:
    """Time from a job's submission to its first epoch in the database, on a warm worker."""
    seconds = []
    for _ in range(NUM_JOBS):
        job = submit_job(client, dataset, **_job(epochs=1))
        _wait(lambda job=job: _state(client, job) == "succeeded")
        seconds.append(_between(client, job, "queued", "epoch"))
    return _summary(seconds)


def cancel(client: httpx.Client, dataset: str) -> Numbers:
    """Time from the request to cancel a running job to the job's end."""
    seconds = []
    for _ in range(NUM_JOBS):
        job = submit_job(client, dataset, **_job(epochs=ENDLESS))
        _wait_for_first_epoch(client, job)
        _cancel(client, job)
        _wait(lambda job=job: _state(client, job) == "cancelled")
        seconds.append(_between(client, job, "cancelling", "cancelled"))
    return _summary(seconds)


def submit(client: httpx.Client, dataset: str) -> dict[str, Numbers]:
    """Time submissions while the worker is fully occupied, in turn with requests to /livez."""
    running = [submit_job(client, dataset, **_job(epochs=ENDLESS)) for _ in range(NUM_RUNNING)]
    for job in running:
        _wait_for_first_epoch(client, job)
    submitted, submit_seconds, livez_seconds = [], [], []
    for _ in range(NUM_SUBMITTED):
        started = time.perf_counter()
        submitted.append(submit_job(client, dataset, **_job(epochs=1)))
        submit_seconds.append(time.perf_counter() - started)
        started = time.perf_counter()
        client.get("/livez").raise_for_status()
        livez_seconds.append(time.perf_counter() - started)
    for job in [*submitted, *running]:
        _cancel(client, job)
    return {"post_jobs": _summary(submit_seconds), "get_livez": _summary(livez_seconds)}


def _table_of_numbers() -> bytes:
    """Return a CSV file with a thousand rows of twenty features."""
    features = np.random.default_rng(0).normal(size=(1000, 20)).round(4)
    table = pl.DataFrame(features, schema=[f"x{number}" for number in range(20)])
    return table.with_columns(label=(features.sum(axis=1) > 0).astype(int)).write_csv().encode()


def _job(*, epochs: int) -> dict[str, Any]:
    return {
        "task": "regression",
        "model": {"hidden": [64]},
        "training": {"epochs": epochs},
    }


def _cancel(client: httpx.Client, job: str) -> None:
    client.post(f"/v1/jobs/{job}/cancel").raise_for_status()


def _state(client: httpx.Client, job: str) -> str:
    return str(_json(client.get(f"/v1/jobs/{job}"))["state"])


def _wait_for_first_epoch(client: httpx.Client, job: str) -> None:
    _wait(lambda: _json(client.get(f"/v1/jobs/{job}"))["progress"]["epochs_completed"] > 0)


def _between(client: httpx.Client, job: str, first: str, last: str) -> float:
    """Return the seconds from a job's first event of one type to its first of another."""
    times: dict[str, float] = {}
    after = 0
    while last not in times:
        path = f"/v1/jobs/{job}/events"
        page = _json(client.get(path, params={"after": after, "limit": 100}))
        for event in page["data"]:
            moment = datetime.fromisoformat(event["created_at"]).timestamp()
            times.setdefault(event["type"], moment)
        after = page["last_id"]
    return times[last] - times[first]


def _wait(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(POLL_SECONDS)


def _json(response: httpx.Response) -> dict[str, Any]:
    answer: dict[str, Any] = response.raise_for_status().json()
    return answer


def _summary(seconds: list[float]) -> Numbers:
    milliseconds = sorted(1000 * value for value in seconds)
    return {
        "median_ms": statistics.median(milliseconds),
        "p99_ms": float(np.percentile(milliseconds, 99)),
        "num_samples": len(milliseconds),
    }


def _machine() -> Numbers:
    """Return how busy the machine was with other work, which makes the figures less reliable."""
    return {"num_cores": os.cpu_count() or 1, "load_average_before": os.getloadavg()[0]}


def _table(numbers: dict[str, Any]) -> str:
    submitting = numbers["submit"]
    ratio = submitting["post_jobs"]["median_ms"] / submitting["get_livez"]["median_ms"]
    rows = {
        f"submit a job while {NUM_RUNNING} run": submitting["post_jobs"],
        "GET /livez by turns with that": submitting["get_livez"],
        "submission -> first epoch recorded": numbers["first_epoch"],
        "cancel -> cancelled": numbers["cancel"],
    }
    lines = [f"{'':36}{'median':>12}{'p99':>12}"]
    lines += [
        f"{name:36}{row['median_ms']:9.1f} ms{row['p99_ms']:9.1f} ms" for name, row in rows.items()
    ]
    lines += [
        f"{'submit / livez, medians':36}{ratio:11.1f}x",
        f"{'CPU of an idle service':36}{numbers['idle']['cpu_percent']:10.2f} % of one core",
        f"{'load average before':36}{numbers['machine']['load_average_before']:12.1f}"
        f" on {numbers['machine']['num_cores']} cores",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    with benchmark_run():
        main()
