"""Count the distinct answers for a row among any others, by any protocol, after any restart."""

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import polars as pl

from benchmarks.serving.network import Rows, column_names, random_rows
from benchmarks.serving.protocols import Probabilities, instances, v2_binary
from benchmarks.serving.servers import running, service

NUM_REQUESTS = 10_000
NUM_RESTARTS = 4
NUM_AT_A_TIME = 8  # so that the service also computes requests in shared batches
MAX_ROWS = 64
SHARES = {"JSON": 0.45, "V2 binary": 0.45, "CSV": 0.1}  # a file takes as long as many others
THE_SEED = 2**32  # of the tested row

Ask = Callable[[httpx.Client, Rows], Probabilities]
"""Rows (N, F) -> their probabilities (N, C), with one request."""


@dataclass(frozen=True)
class Question:
    """Rows, the index of the tested row, and the protocol of the request."""

    protocol: str
    rows: Rows
    position: int


@dataclass(frozen=True)
class Answers:
    """The number of requests by protocol, and the number of distinct answers."""

    num_requests: dict[str, int]
    num_restarts: int
    num_distinct: int


def protocols(model: str) -> dict[str, Ask]:
    return {
        "JSON": instances(f"/v1/models/{model}/predict").ask,
        "V2 binary": v2_binary(f"/v2/models/{model}/infer", "FP64").ask,
        "CSV": partial(_ask_by_file, model),
    }


def measure(data_dir: Path, asks: Mapping[str, Ask], *, num_requests: int) -> Answers:
    """Predict one row among 0 to 63 others, by each protocol, with four restarts of the service.

    A failed request is an error.
    """
    distinct: set[bytes] = set()
    num_asked: Counter[str] = Counter()
    for life in range(NUM_RESTARTS + 1):
        numbers = range(life, num_requests, NUM_RESTARTS + 1)
        with running(service(data_dir)) as server, ThreadPoolExecutor(NUM_AT_A_TIME) as pool:
            for protocol, bits in pool.map(partial(_answer, server.client, asks), numbers):
                num_asked[protocol] += 1
                distinct.add(bits)
    return Answers(dict(num_asked), NUM_RESTARTS, len(distinct))


def _answer(client: httpx.Client, asks: Mapping[str, Ask], number: int) -> tuple[str, bytes]:
    """Return the protocol of a question, and the bits of the row's probabilities."""
    asked = question(number)
    given = asks[asked.protocol](client, asked.rows)
    return asked.protocol, given[asked.position].tobytes()


def question(number: int) -> Question:
    """Return the tested row at a random index among others."""
    chance = np.random.default_rng(number)
    rows = random_rows(int(chance.integers(1, MAX_ROWS, endpoint=True)), seed=number)
    position = int(chance.integers(len(rows)))
    rows[position] = random_rows(1, seed=THE_SEED)[0]
    return Question(str(chance.choice(list(SHARES), p=list(SHARES.values()))), rows, position)


def _ask_by_file(model: str, client: httpx.Client, rows: Rows) -> Probabilities:
    table = pl.DataFrame(rows, schema=column_names()).write_csv().encode()
    files = {"file": ("rows.csv", table)}
    response = client.post(f"/v1/models/{model}/predict-file", files=files).raise_for_status()
    answer = pl.read_csv(response.content).select(pl.col("^probability_.*$"))
    return answer.to_numpy().astype(np.float64)
