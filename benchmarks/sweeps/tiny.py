"""What the service adds to a trial of a tiny job: 4-16-3 networks on the 150 rows of iris."""

import statistics
from typing import Any, NamedTuple

import httpx
import polars as pl
from sklearn.datasets import load_iris

from benchmarks.sweeps.ours import in_library, in_service
from benchmarks.sweeps.task import HIDDEN_DROPOUT, LEARNING_RATE, SPACE, TRIALS

EPOCHS = 10


class Overhead(NamedTuple):
    """The seconds of the same sweep in both forms, by round."""

    service: list[float]
    library: list[float]

    @property
    def milliseconds(self) -> list[float]:
        """Return what the service adds to each trial, by round."""
        pairs = zip(self.service, self.library, strict=True)
        return [1000 * (service - library) / TRIALS for service, library in pairs]

    def __str__(self) -> str:
        service, library, added = map(statistics.median, (*self, self.milliseconds))
        return (
            f"{TRIALS} trials of a tiny job: {service:.3f} s in the service, {library:.3f} s in "
            f"the library: {added:.2f} ms more a trial (medians of {len(self.service)} rounds)"
        )


def measure_overhead(client: httpx.Client, *, rounds: int) -> Overhead:
    """Sweep in turn over HTTP and in this process, after a round that warms up."""
    iris = load_iris()
    frame = pl.DataFrame(iris.data, schema=["a", "b", "c", "d"]).with_columns(
        target=pl.Series([str(iris.target_names[kind]) for kind in iris.target])
    )
    job: dict[str, Any] = {
        "dataset": {"target": "target"},
        "task": "multiclass",
        "preprocessing": {},
        "model": {"hidden": [16]},
        "training": {"epochs": EPOCHS, "device": "cpu"},
    }
    space = {pointer: SPACE[pointer] for pointer in (HIDDEN_DROPOUT, LEARNING_RATE)}
    files = {"file": ("iris.csv", frame.write_csv().encode())}
    dataset = client.post("/v1/datasets", files=files).raise_for_status().json()["id"]
    overhead = Overhead([], [])
    for number in range(-1, rounds):
        search = {"space": space, "budget": {"trials": TRIALS}, "seed": number + 1}
        service = in_service(client, dataset, job, search).seconds
        library = in_library(frame, job, search).seconds
        if number >= 0:
            overhead.service.append(service)
            overhead.library.append(library)
    return overhead
