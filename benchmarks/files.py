"""Measure a million rows: uploaded, against polars.read_csv alone, and predicted as a file.

    python -m benchmarks.files [--json FILE]

starts its own service. Both figures are ratios of wall-clock times, whose two sides are timed in
turn. Memory is the largest sum of the proportional set sizes of the service's processes, sampled
every few milliseconds during the upload.
"""

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import psutil

from benchmarks import running
from benchmarks.options import option_parser, write_report
from benchmarks.run_folder import benchmark_run

NUM_ROWS = 1_000_000
NUM_ROUNDS = 5
POLL_SECONDS = 0.005
GOAL_UPLOAD = 3.0
GOAL_BYTES = 1e9
GOAL_PREDICT = 0.6

# In a separate process, like a program that does nothing else.
_READ = "import sys, time, polars; t = time.perf_counter(); polars.read_csv(sys.argv[1]);"
_READ += "print(time.perf_counter() - t)"

_PREDICT = """
import sys, time, polars, torch
from pathlib import Path
from dropout_core.model.predictor import Predictor
torch.set_num_threads(1)
predictor = Predictor.load(Path(sys.argv[1]))
frame = polars.read_csv(sys.argv[2], infer_schema=False)
t = time.perf_counter()
for part in frame.iter_slices(65536):
    predictor.outputs(predictor.encode(part))
print(time.perf_counter() - t)
"""


def main() -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--rows", type=int, default=NUM_ROWS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        path = Path(folder) / "table.csv"
        table(arguments.rows).write_csv(path)
        with running.running_service(max_upload_bytes=2**31) as (process, client):
            numbers = {"upload": upload(process, client, path)}
            numbers["predict"] = predict(process, client, path)
    print(_report(numbers))
    write_report(numbers, arguments)


def table(num_rows: int) -> pl.DataFrame:
    """Return thirty columns: numbers with missing values, integers, words, dates and a target."""
    chance = np.random.default_rng(0)
    columns: dict[str, Any] = {
        f"x{index}": chance.normal(size=num_rows).round(4) for index in range(18)
    }
    columns |= {f"n{index}": chance.integers(0, 1000, num_rows) for index in range(5)}
    colours = np.array(["red", "green", "blue", "violet"])
    columns |= {f"c{index}": colours[chance.integers(0, 4, num_rows)] for index in range(4)}
    columns["city"] = np.array([f"city {i}" for i in range(500)])[chance.integers(0, 500, num_rows)]
    days = chance.integers(0, 1000, num_rows).astype("timedelta64[D]")
    columns["when"] = np.datetime64("2020-01-01") + days
    columns["label"] = (columns["x1"] + columns["x2"] > 0).astype(int)
    hole = pl.when(pl.col("x0") > 1).then(None).otherwise(pl.col("x0"))
    return pl.DataFrame(columns).with_columns(hole.alias("x0"))


def upload(process: psutil.Process, client: httpx.Client, path: Path) -> dict[str, Any]:
    """Time uploads in turn with read_csv, and measure the service's memory meanwhile."""
    _upload(client, path)  # the first upload starts processes that later ones use
    ours, alone, peaks = [], [], []
    for _ in range(NUM_ROUNDS):
        alone.append(_time_of(_READ, path))
        with _watching_memory(process) as peak:
            started = time.perf_counter()
            dataset = _upload(client, path)
            ours.append(time.perf_counter() - started)
        peaks.append(peak())
        client.delete(f"/v1/datasets/{dataset}").raise_for_status()
    return {
        "upload_seconds": ours,
        "read_csv_seconds": alone,
        "ratio": statistics.median(a / b for a, b in zip(ours, alone, strict=True)),
        "peak_bytes": max(peaks),
        "file_bytes": path.stat().st_size,
    }


def predict(process: psutil.Process, client: httpx.Client, path: Path) -> dict[str, Any]:
    """Time predictions of a file, and of the same rows in one process that has them in memory."""
    first_rows = pl.read_csv(path, n_rows=10_000).write_csv().encode()
    model = running.train(client, running.upload(client, first_rows), training={"epochs": 1})
    data_dir = Path(process.cmdline()[process.cmdline().index("--data-dir") + 1])
    [weights] = (data_dir / "artifacts").glob("jobs/*/*/model")
    ours, alone = [], []
    for _ in range(NUM_ROUNDS):
        alone.append(_time_of(_PREDICT, weights, path))
        started = time.perf_counter()
        with path.open("rb") as file:
            files = {"file": ("table.csv", file)}
            with client.stream("POST", f"/v1/models/{model}/predict-file", files=files) as answer:
                answer.raise_for_status()
                num_lines = sum(part.count(b"\n") for part in answer.iter_bytes())
        ours.append(time.perf_counter() - started)
    return {
        "num_lines": num_lines,
        "predict_file_seconds": ours,
        "in_one_process_seconds": alone,
        "ratio": statistics.median(b / a for a, b in zip(ours, alone, strict=True)),
    }


def _upload(client: httpx.Client, path: Path) -> str:
    with path.open("rb") as file:
        return running.upload(client, file)


def _time_of(program: str, *arguments: Path) -> float:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@contextmanager
def _watching_memory(process: psutil.Process) -> Iterator[Callable[[], int]]:
    """Yield a function that returns, after the block, the most memory of the process tree."""
    over = threading.Event()
    largest = 0

    def watch() -> None:
        nonlocal largest
        while not over.wait(POLL_SECONDS):
            largest = max(largest, _family_bytes(process))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: largest
    finally:
        over.set()
        watcher.join()


def _family_bytes(process: psutil.Process) -> int:
    total = 0
    for member in (process, *process.children(recursive=True)):
        try:
            total += member.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # it ended since it was listed
    return total


def _report(numbers: dict[str, Any]) -> str:
    upload, predict = numbers["upload"], numbers["predict"]
    medians = {
        name: statistics.median(values)
        for name, values in (upload | predict).items()
        if name.endswith("_seconds")
    }
    rows = {
        "upload, infer, store / polars.read_csv alone": (GOAL_UPLOAD, upload["ratio"]),
        "gigabytes of the whole service meanwhile": (GOAL_BYTES / 1e9, upload["peak_bytes"] / 1e9),
        "rate of predicting a file / encode and forward alone": (GOAL_PREDICT, predict["ratio"]),
    }
    lines = [f"{'':54}{'goal':>8}{'measured':>10}"]
    lines += [f"{name:54}{goal:8.2f}{found:10.2f}" for name, (goal, found) in rows.items()]
    lines += [f"{name:54}{seconds:18.2f}" for name, seconds in medians.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    with benchmark_run():
        main()
