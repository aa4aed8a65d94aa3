"""The service's and the library's sweep.

Without early stopping a model has the weights of its last epoch. With a patience that never runs
out it has those of its best epoch, whose validation loss ranks the trials.
"""

import time
from datetime import datetime
from typing import Any, NamedTuple

import httpx
import polars as pl

from benchmarks.sweeps.curves import Curve
from benchmarks.sweeps.rows import PART, TARGET, Prepared
from benchmarks.sweeps.task import EPOCHS, HIDDEN, REDUCTION, SPACE, TRIALS
from dropout_core.config import (
    MLPConfig,
    PreprocessingConfig,
    ProblemConfig,
    SweepConfig,
    TrainingConfig,
)
from dropout_core.pipeline.resolved_table import resolve_table
from dropout_core.sweeps.tabular_sweep import Event, Reached, sweep


class Found(NamedTuple):
    """How long a search took, how many epochs it trained, and when it knew which losses."""

    seconds: float
    epochs: int
    curve: Curve


def job(prepared: Prepared) -> dict[str, Any]:
    """Return the base job of a sweep over prepared rows, without the dataset's id."""
    num_inputs = prepared.arrays["features"].shape[1]
    return {
        "dataset": {
            "target": TARGET,
            "types": {f"x{number}": "numeric" for number in range(num_inputs)},
            "split": {"kind": "column", "column": PART},
        },
        "task": prepared.table.task,
        "preprocessing": {"scale": "none"},
        "model": {"hidden": HIDDEN},
        "training": {
            "epochs": EPOCHS,
            "batch_size": prepared.batch_size,
            "optimizer": {"name": "adamw"},
            "early_stopping": {"patience": EPOCHS},
            "seed": prepared.seed,
            "device": "cpu",
        },
    }


def search(seed: int, sampler: str) -> dict[str, Any]:
    return {
        "sampler": sampler,
        "space": SPACE,
        "pruner": {"name": "successive_halving", "reduction": REDUCTION},
        "budget": {"trials": TRIALS},
        "seed": seed,
    }


def in_library(frame: pl.DataFrame, job: dict[str, Any], search: dict[str, Any]) -> Found:
    """Search in this process. A loss is known when its trial has reached a rung."""
    curve, epochs = [], {}
    started = time.perf_counter()

    def note(event: Event) -> None:
        if isinstance(event, Reached):
            epochs[event.trial] = event.rung.epochs
            if event.result.values is not None:
                curve.append((time.perf_counter() - started, event.result.values[0]))

    table = resolve_table(
        frame, ProblemConfig.model_validate(job["dataset"] | {"task": job["task"]})
    )
    sweep(
        table,
        config=SweepConfig.model_validate(search),
        preprocessing=PreprocessingConfig.model_validate(job["preprocessing"]),
        model=MLPConfig.model_validate(job["model"]),
        training=TrainingConfig.model_validate(job["training"]),
        on_event=note,
    )
    return Found(time.perf_counter() - started, sum(epochs.values()), curve)


def in_service(
    client: httpx.Client, dataset: str, job: dict[str, Any], search: dict[str, Any]
) -> Found:
    """Search over HTTP, from the request to the end of its events: the winner's model is there.

    A loss is known when its epoch is recorded, by the service's clock, which is that of this
    machine.
    """
    body = {"job": job | {"dataset": {"id": dataset, **job["dataset"]}}, **search}
    submitted, started = time.time(), time.perf_counter()
    path = f"/v1/sweeps/{_json(client.post('/v1/sweeps', json=body))['id']}"
    with client.stream("GET", f"{path}/events", headers={"Accept": "text/event-stream"}) as stream:
        for _ in stream.iter_lines():  # it ends with the sweep
            pass
    seconds = time.perf_counter() - started
    answer = _json(client.get(path))
    if answer["state"] != "succeeded":
        raise RuntimeError(f"the sweep ended as {answer['state']}: {answer['detail']}")
    page = _json(client.get(f"{path}/trials", params={"limit": TRIALS}))
    jobs = [each["id"] for trial in page["data"] for each in trial["jobs"]]
    curve = [point for each in jobs for point in _curve(client, each, submitted)]
    return Found(seconds, len(curve), curve)


def _curve(client: httpx.Client, job: str, submitted: float) -> Curve:
    """Return the epochs of a job: seconds since the sweep was submitted, and losses."""
    events, page = [], {"last_id": 0, "has_more": True}
    while page["has_more"]:
        where = {"after": page["last_id"], "limit": 100}
        page = _json(client.get(f"/v1/jobs/{job}/events", params=where))
        events += [event for event in page["data"] if event["type"] == "epoch"]
    moments = (datetime.fromisoformat(event["created_at"]).timestamp() for event in events)
    losses = (event["data"]["validation_loss"] for event in events)
    return [(at - submitted, loss) for at, loss in zip(moments, losses, strict=True)]


def _json(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        raise RuntimeError(f"{response.status_code}: {response.text[:500]}")
    answer: dict[str, Any] = response.json()
    return answer
