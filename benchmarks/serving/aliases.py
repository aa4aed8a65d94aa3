"""Move an alias between two versions of a name while wrk sends requests for it."""

import signal
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.serving import wrk
from benchmarks.serving.network import NAME, random_rows
from benchmarks.serving.protocols import instances
from benchmarks.serving.servers import running, service
from benchmarks.serving.throughput import some_rows

NUM_MOVES = 1_000
ALIAS = f"/v1/names/{NAME}/aliases/production"
LONG_SECONDS = 3600  # wrk is stopped when all moves are done


@dataclass(frozen=True)
class Moves:
    """Requests meanwhile, failed requests, and moves after which the other version answered."""

    num_moves: int
    num_requests: int
    num_failed: int
    num_unseen: int


def measure(data_dir: Path, *, num_moves: int = NUM_MOVES) -> Moves:
    """Move `production` between the first and the second version, a request after each move."""
    protocol = instances(f"/v1/models/{NAME}/predict")
    body = protocol.encode(random_rows(1, seed=0))
    bodies = [protocol.encode(rows) for rows in some_rows(1)]
    num_unseen = 0
    with running(service(data_dir)) as server:
        models = _models_by_version(server.client)
        _move(server.client, 1)
        url = server.url(protocol.path)
        wrk.warm_up(url, bodies)
        with wrk.loading(url, bodies, seconds=LONG_SECONDS) as load:
            for number in range(num_moves):
                version = 2 - number % 2
                _move(server.client, version)
                answer = server.client.post(
                    protocol.path, content=body.content, headers=body.headers
                )
                seen = answer.raise_for_status().json()["model"]
                num_unseen += seen != models[version]
            load.send_signal(signal.SIGINT)
            measured = wrk.finish(load)
    return Moves(num_moves, measured.num_requests, measured.num_failed, num_unseen)


def _models_by_version(client: httpx.Client) -> dict[int, str]:
    name = client.get(f"/v1/names/{NAME}").raise_for_status().json()
    return {each["version"]: each["model"] for each in name["versions"]}


def _move(client: httpx.Client, version: int) -> None:
    client.put(ALIAS, json={"version": version}).raise_for_status()
