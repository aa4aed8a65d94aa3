"""A demonstration from upload to prediction, as an HTTP client of a service of its own.

It uploads handwritten digits as CSV, trains three jobs at the same time, two that differ only in
dropout and one with the default preset, and prints their results in a table.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from store.settings import PREFIX

NUM_HELD_OUT = 360
NUM_SHOWN = 5
STOP_SECONDS = 30

_TRAINING = {"epochs": 60, "batch_size": 64}
VARIANTS: dict[str, dict[str, Any]] = {
    "no dropout": {
        "model": {"hidden": [256, 256], "input_dropout": 0.0, "hidden_dropout": 0.0},
        "training": _TRAINING,
    },
    "dropout .1/.5": {
        "model": {"hidden": [256, 256], "input_dropout": 0.1, "hidden_dropout": 0.5},
        "training": _TRAINING,
    },
    "default": {},
}


class DemoFailed(Exception):
    """The demo failed; the message is one line."""


def run() -> None:
    """Start a service, train on it and print the results. Raises DemoFailed."""
    console = Console()
    try:
        training, held_out, labels = _digits()
        console.print("Starting a service of its own, on a free port ...")
        hooks = {"response": [_require_success]}
        with (
            _service() as address,
            httpx.Client(base_url=address, timeout=60, event_hooks=hooks) as client,
        ):
            console.print(f"Service ready at {address}")
            _show(client, console, training, held_out, labels)
            console.print(f"API docs: {address}/docs (`make serve` keeps a service running)")
    except (httpx.HTTPError, OSError, KeyError, ImportError) as error:
        raise DemoFailed(f"{type(error).__name__}: {error}") from error


def _require_success(response: httpx.Response) -> None:
    if response.is_error:
        answer = response.read().decode(errors="replace")
        raise DemoFailed(f"{response.request.url} answered {response.status_code}: {answer}")


def _upload(client: httpx.Client, name: str, table: str) -> dict[str, Any]:
    file = (f"{name}.csv", table.encode(), "text/csv")
    return _json(client.post("/v1/datasets", files={"file": file}, data={"name": name}))


def _events(client: httpx.Client, job_id: str) -> Iterator[dict[str, Any]]:
    """Yield the job's events as they happen."""
    headers = {"Accept": "text/event-stream"}
    with client.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as response:
        for line in response.iter_lines():
            if line.startswith("data:"):
                yield json.loads(line.removeprefix("data:"))


def _json(response: httpx.Response) -> dict[str, Any]:
    answer: dict[str, Any] = response.json()
    return answer


def _show(
    client: httpx.Client, console: Console, training: str, held_out: str, labels: list[int]
) -> None:
    dataset = _upload(client, "digits", training)
    test_set = _upload(client, "digits-held-out", held_out)
    console.print(
        f"Uploaded {dataset['num_rows']} digits to learn from and {test_set['num_rows']} held out"
    )
    jobs = {
        name: _json(client.post("/v1/jobs", json=_job(dataset["id"], name))) for name in VARIANTS
    }
    with _progress(console) as progress, ThreadPoolExecutor(len(jobs)) as pool:
        bars = {
            name: progress.add_task(name, total=job["progress"]["epochs"], news="waiting")
            for name, job in jobs.items()
        }
        watched = [
            pool.submit(_watch, client, job["id"], progress, bars[name])
            for name, job in jobs.items()
        ]
        for follower in watched:
            follower.result()
    columns = {
        name: _results(client, job["id"], test_set["id"], held_out) for name, job in jobs.items()
    }
    console.print(_table(columns, labels))


def _job(dataset_id: str, name: str) -> dict[str, Any]:
    return {
        "name": f"digits, {name}",
        "dataset": {"id": dataset_id, "target": "digit"},
        **VARIANTS[name],
    }


def _watch(client: httpx.Client, job_id: str, progress: Progress, bar: TaskID) -> None:
    """Move the bar with the job's events. Raises DemoFailed unless the job succeeds."""
    last: dict[str, Any] = {}
    for last in _events(client, job_id):
        data = last["data"]
        if last["type"] == "step" and data["step"] != "evaluating":  # which is soon over
            progress.update(bar, news=data["step"])
        elif last["type"] == "epoch":
            loss, accuracy = data["train_loss"], data["validation_score"]
            news = f"loss {loss:.3f}  accuracy {accuracy:.1%}"
            progress.update(bar, completed=data["epoch"], news=news)
    progress.update(bar, total=progress.tasks[bar].completed)  # it may have stopped early
    if last.get("type") != "succeeded":
        raise DemoFailed(f"job {job_id} ended {last.get('type')}: {last.get('data')}")


def _results(client: httpx.Client, job_id: str, test_set: str, held_out: str) -> list[str]:
    """Return a column of the table, in the order of its rows."""
    job = _json(client.get(f"/v1/jobs/{job_id}"))
    history = _json(client.get(f"/v1/jobs/{job_id}/metrics"))
    model = f"/v1/models/{job['model']}"
    evaluation = _json(client.post(f"{model}/evaluate", json={"dataset": test_set}))
    rows = held_out.splitlines()[1 : NUM_SHOWN + 1]
    instances = [[float(cell) for cell in row.split(",")[:-1]] for row in rows]
    predictions = _json(client.post(f"{model}/predict", json={"instances": instances}))
    sure = [max(row) for row in predictions["probabilities"]]
    rate = sum(history["samples_per_second"]) / len(history["epoch"])
    return [
        job["state"],
        f"{history['train_loss'][-1]:.4f}",
        f"{rate:,.0f} rows/s",
        f"{evaluation['metrics']['accuracy']:.2%}",
        f"{evaluation['metrics']['log_loss']:.4f}",
        *(f"{p} ({s:.1%})" for p, s in zip(predictions["predictions"], sure, strict=True)),
    ]


def _table(columns: dict[str, list[str]], labels: list[int]) -> Table:
    table = Table(title="Handwritten digits: 64-256-256-10, and the default preset")
    names = [
        "state",
        "training loss, last epoch",
        "training speed",
        "accuracy on held-out digits",
        "log loss on them",
        *(f"prediction of a {label}" for label in labels[:NUM_SHOWN]),
    ]
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    for row in zip(names, *columns.values(), strict=True):
        table.add_row(*row)
    return table


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:>14}"),
        BarColumn(bar_width=30),
        TextColumn("epoch {task.completed:>2.0f}/{task.total:.0f}  {task.fields[news]}"),
        TimeElapsedColumn(),
        console=console,
    )


def _digits() -> tuple[str, str, list[int]]:
    """Return two CSV tables of scikit-learn's 8x8 digits, and the labels of the second."""
    import numpy as np
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    held_out, training = order[:NUM_HELD_OUT], order[NUM_HELD_OUT:]

    def table(rows: Any) -> str:
        text = io.StringIO()
        header = ",".join([*(f"pixel_{index}" for index in range(pixels.shape[1])), "digit"])
        cells = np.column_stack([pixels[rows], labels[rows]])
        np.savetxt(text, cells, fmt="%d", delimiter=",", header=header, comments="")
        return text.getvalue()

    return table(training), table(held_out), [int(label) for label in labels[held_out]]


@contextmanager
def _service() -> Iterator[str]:
    """Run a service with a temporary data directory on a free port, and yield its address."""
    with tempfile.TemporaryDirectory(prefix="dropout-demo-") as folder:
        command = [sys.executable, "-m", "app", "serve", "--port", "0", "--data-dir", folder]
        with open(f"{folder}/log", "w") as log_file:  # noqa: PTH123 - a str is at hand
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                command, env=_environment(), stdout=subprocess.PIPE, stderr=log_file, text=True
            )
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if "http://" not in line:
                raise DemoFailed(f"the service did not start: {_last_line(f'{folder}/log')}")
            yield line.split()[-1]
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)
            process.stdout.close()


def _environment() -> dict[str, str]:
    """Return the environment without the settings of other services, whose data must stay."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}


def _last_line(path: str) -> str:
    with open(path) as file:  # noqa: PTH123
        return (file.read().strip().splitlines() or ["its log is empty"])[-1]
