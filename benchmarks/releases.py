"""Compare the service of this checkout with that of another, such as the release before.

    python -m benchmarks.releases CHECKOUT [--rounds N] [--json FILE]

runs both services side by side, each with the environment of its own checkout (`.venv`), sends them
the same jobs and requests in turns, and prints the ratios of the times. A job trains a
784-256-256-10 network with dropout; a step's time is the service's own figure for the epoch.
"""

import io
import json
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.options import option_parser, write_report
from benchmarks.run_folder import benchmark_run
from benchmarks.running import running_service

NUM_FEATURES = 784
NUM_ROWS = 6_000
BATCH_SIZE = 128
REQUESTS_PER_ROUND = 300
HERE = Path(__file__).resolve().parent.parent

JOB = {
    "model": {"hidden": [256, 256], "input_dropout": 0.2, "hidden_dropout": [0.2, 0.5]},
    "training": {"epochs": 4, "batch_size": BATCH_SIZE, "seed": 1},
}

Numbers = dict[str, float]


def main() -> None:
    parser = option_parser(__doc__)
    parser.add_argument("checkout", type=Path, help="the other checkout, with its `.venv`")
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    with benchmark_run(), ExitStack() as stack:
        services = [
            Service(stack.enter_context(running_service(checkout=checkout, concurrency=1))[1])
            for checkout in (options.checkout.resolve(), HERE)
        ]
        numbers = {
            "training step": compare(services, Service.step_seconds, options.rounds),
            "prediction, 1 row": compare(services, lambda s: s.predict_seconds(1), options.rounds),
            "prediction, 64 rows": compare(
                services, lambda s: s.predict_seconds(64), options.rounds
            ),
        }
    print(f"{'':22}{'other':>12}{'here':>12}{'here / other':>14}{'quartiles':>18}")
    for name, row in numbers.items():
        print(
            f"{name:22}{row['other'] * 1e6:9.0f} us{row['here'] * 1e6:9.0f} us"
            f"{row['ratio']:14.3f}{row['lower']:12.3f}{row['upper']:6.3f}"
        )
    write_report(numbers, options)


class Service:
    """A running service with a dataset and a model that is loaded."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        random = np.random.default_rng(0)
        self._features = random.random((NUM_ROWS, NUM_FEATURES), np.float32).round(3)
        file = io.BytesIO()
        np.savez(file, x=self._features, y=random.integers(0, 10, NUM_ROWS))
        file.seek(0)
        uploaded = client.post("/v1/datasets", files={"file": ("table.npz", file)})
        self._dataset = uploaded.raise_for_status().json()["id"]
        self._model = self._train()["model"]

    def step_seconds(self) -> float:
        """Train a job and return the time of its fastest epoch, a step."""
        job = self._train()
        metrics = self._client.get(f"/v1/jobs/{job['id']}/metrics").raise_for_status().json()
        return BATCH_SIZE / float(max(metrics["samples_per_second"]))

    def predict_seconds(self, num_rows: int) -> float:
        """Return the median time of a request for predictions, on one connection."""
        body = json.dumps({"instances": self._features[:num_rows].round(3).tolist()})
        connection = HTTPConnection(self._client.base_url.host, self._client.base_url.port)
        seconds = []
        for _ in range(REQUESTS_PER_ROUND):
            began = time.perf_counter()
            connection.request(
                "POST",
                f"/v1/models/{self._model}/predict",
                body,
                {"Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            answer.read()
            seconds.append(time.perf_counter() - began)
            if answer.status != 200:
                raise RuntimeError(f"a prediction was answered with {answer.status}")
        connection.close()
        return statistics.median(seconds)

    def _train(self) -> dict[str, Any]:
        asked = JOB | {"dataset": {"id": self._dataset, "target": "y"}}
        job = self._client.post("/v1/jobs", json=asked).raise_for_status().json()
        while job["state"] in ("queued", "running"):
            time.sleep(0.05)
            job = self._client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
        if job["state"] != "succeeded":
            raise RuntimeError(f"the job ended {job['state']}: {job['detail']}")
        return dict(job)


def compare(services: list[Service], measure: Callable[[Service], float], rounds: int) -> Numbers:
    """Measure both in turns, the first one first in every other round."""
    pairs = []
    for number in range(rounds):
        order = services if number % 2 == 0 else services[::-1]
        seconds = {id(service): measure(service) for service in order}
        pairs.append([seconds[id(service)] for service in services])
    lower, middle, upper = statistics.quantiles((here / other for other, here in pairs), n=4)
    others, heres = zip(*pairs, strict=True)
    return {
        "other": statistics.median(others),
        "here": statistics.median(heres),
        "ratio": middle,
        "lower": lower,
        "upper": upper,
    }


if __name__ == "__main__":
    main()
