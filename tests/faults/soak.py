"""Tiny jobs in a steady stream, and every few seconds a process killed: nothing may be lost.

`python -m tests.faults.soak --minutes 10 --rate 20 --kill-every 5 --shape scaled-out`

Jobs come in an open loop, whatever the service can take; the clients send a request again, with its
Idempotency-Key, until it is answered. After the submissions all that was accepted is waited for.
Memory is that of one API process and one worker that are never killed, since a new process would
hide what an old one had gathered; the embedded service has one worker alone, which is killed in the
first half of the time and measured in the second.

The leases are those of the defaults. It ends with 1 if a job was lost, made or modelled twice, or
failed, if a request got a 5xx, or if memory grew in the last half of the time.
"""

import argparse
import json
import random
import secrets
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import redis
from pydantic import SecretStr
from sqlalchemy import Select, func, select

from benchmarks.run_folder import RunFolder
from store.database.engine import Database
from store.database.tables import events, jobs, models
from store.jobs import TERMINAL
from tests.faults.history import histories
from tests.support import processes
from tests.support.client import Client
from tests.support.servers import PostgresServer, RedisServer
from tests.support.service import Service, embedded, scaled_out
from tests.support.worker_examples import MODEL, TRAINING

MiB = 1024**2
FAILURES = (
    *("lost", "unanswered", "refused", "server_errors"),
    *("made_twice", "duplicate_models", "not_succeeded", "grew"),
)
GROWTH = 1.05  # of a process that is warm: what its allocator may still move
PATIENCE_SECONDS = 300.0  # of a client
OUTPUT = Path("build/soak.json")
NUM_CLIENTS = 32
SAMPLE_SECONDS = 5.0
PROGRESS_SECONDS = 15.0
TICK_SECONDS = 0.1
CLIENT_WAITS_SECONDS = 0.2  # before it asks again
SETTINGS: dict[str, Any] = {"threads_per_job": 1, "tenant_queued_jobs": 1_000_000}
SETTLED_SECONDS = 60.0  # a worker that is new grows for so long


@dataclass
class Submissions:
    """Clients that send jobs at a rate, and do not give up."""

    addresses: list[str]
    job: dict[str, Any]
    num_sent: int = 0
    latencies: list[float] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    server_errors: list[str] = field(default_factory=list)

    def run(self, *, rate: float, seconds: float) -> None:
        """Send them when they are due, and wait until all are answered."""
        answered = []
        with (
            httpx.Client(timeout=10, trust_env=False) as self._http,
            ThreadPoolExecutor(NUM_CLIENTS) as clients,
        ):
            begun_at = time.monotonic()
            for number in range(int(rate * seconds)):
                due_at = begun_at + number / rate
                time.sleep(max(0.0, due_at - time.monotonic()))
                self.num_sent += 1
                answered.append(clients.submit(self._submit, due_at))
        for future in answered:
            future.result()

    def _submit(self, due_at: float) -> None:
        key = {"Idempotency-Key": secrets.token_hex(16)}
        for address in self._in_turn():
            try:
                answer = self._http.post(f"{address}/v1/jobs", json=self.job, headers=key)
            except httpx.TransportError:
                continue
            if answer.status_code == 202:
                self.latencies.append(time.monotonic() - due_at)
                self.accepted.append(answer.json()["id"])
                return
            if answer.status_code >= 500:
                self.server_errors.append(answer.text)
            elif answer.status_code not in (409, 429):
                self.refused.append(answer.text)
                return

    def _in_turn(self) -> Iterator[str]:
        """Addresses, beginning with any, with a wait between two rounds, until patience is over."""
        first = random.randrange(len(self.addresses))
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < give_up_at:
            yield from self.addresses[first:] + self.addresses[:first]
            time.sleep(CLIENT_WAITS_SECONDS)


@dataclass
class Kill:
    kind: str
    at: float  # Unix seconds
    owned: list[str]  # the jobs that a killed worker had


class Killer:
    """Kills any process but the survivors, on which memory is measured."""

    def __init__(self, system: Service, database: Database, *, half_at: float) -> None:
        self.kills: list[Kill] = []
        self.survivors = {"api": system.find("api")[0], "worker": system.find("worker")[0]}
        self._system = system
        self._database = database
        # The only worker is killed too, as long as it has the time to settle.
        self._worker_until = half_at - SETTLED_SECONDS
        self._has_one_worker = len(system.find("worker")) == 1

    def kill_one(self) -> None:
        candidates = {
            kind: mortal
            for kind in ("trainer", "worker", "api", "dispatcher")
            if (mortal := self._mortal(kind))
        }
        if not candidates:
            return
        kind = random.choice(sorted(candidates))
        victim = random.choice(candidates[kind])
        owned = self._jobs_of(victim) if kind == "worker" else []
        self.kills.append(Kill(kind, time.time(), owned))
        processes.kill(victim)

    def _mortal(self, kind: str) -> list[psutil.Process]:
        found = self._system.find(kind)
        if kind == "worker" and self._has_one_worker:
            return found if time.monotonic() < self._worker_until else []
        return [process for process in found if process != self.survivors.get(kind)]

    def _jobs_of(self, worker: psutil.Process) -> list[str]:
        mine = jobs.c.owner.endswith(f":{worker.pid}") | (jobs.c.owner == "local")
        with self._database.read() as transaction:
            return list(transaction.execute(select(jobs.c.id).where(mine)).scalars())


class Memory:
    """Samples of resident set sizes, in MiB: those of a process do not move when another dies."""

    def __init__(self, system: Service, killer: Killer) -> None:
        self.samples: list[dict[str, float]] = []
        self._system = system
        self._killer = killer
        self._begun_at = time.monotonic()

    def sample(self) -> None:
        survivors = dict(self._killer.survivors)
        if not survivors["worker"].is_running():  # the only one
            survivors["worker"] = next(iter(self._system.find("worker")), survivors["worker"])
        self._killer.survivors = survivors
        servers = [
            p
            for p in self._system.find("forkserver")
            if processes.parent_of(p) == survivors["worker"]
        ]
        sizes = {
            "api": _mib([survivors["api"]]),
            "worker": _mib([survivors["worker"]]),
            "forkserver": _mib(servers),
            "all_api": _mib(self._system.find("api")),
            "all_workers": _mib(self._system.find("worker")),
        }
        self.samples.append({"seconds": time.monotonic() - self._begun_at, **sizes})

    def figures(self, name: str, *, from_seconds: float, to_seconds: float) -> dict[str, float]:
        """Of its samples between two times: the first, the last, and the slope of a line."""
        points = [
            (sample["seconds"], sample[name])
            for sample in self.samples
            if from_seconds <= sample["seconds"] <= to_seconds and sample[name]
        ]
        if len(points) < 2:
            return {}
        seconds, sizes = np.array(points).T
        slope = float(np.polyfit(seconds / 60, sizes, 1)[0])
        return {
            "first_mib": round(float(sizes[0]), 1),
            "last_mib": round(float(sizes[-1]), 1),
            "mib_per_minute": round(slope, 3),
        }


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is stopped
    with (
        _service(options.shape) as (system, broker),
        closing(Database(system.settings.database)) as database,
    ):
        figures = soak(system, database, broker, options)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(figures, indent=2))
    told = {name: figure for name, figure in figures.items() if name != "samples"}
    sys.stdout.write(json.dumps(told, indent=2) + "\n")
    if any(figures[name] for name in FAILURES):
        sys.exit(1)


def soak(
    system: Service, database: Database, broker: RedisServer | None, options: argparse.Namespace
) -> dict[str, Any]:
    """Submit, kill, drain, and count."""
    seconds = options.minutes * 60
    with Client(system.addresses[0]) as client:
        dataset_id = client.upload()
        job = {
            "dataset": {"id": dataset_id, "target": "label"},
            "model": MODEL,
            "training": {**TRAINING, "epochs": 1},
        }
        client.wait_until_over(client.create("/v1/jobs", json=job)["id"])  # all of it is warm
    begun_at = time.monotonic()
    killer = Killer(system, database, half_at=begun_at + seconds / 2)
    memory = Memory(system, killer)
    submissions = Submissions(system.addresses, job)
    submitting = threading.Thread(
        target=submissions.run, kwargs={"rate": options.rate, "seconds": seconds}, daemon=True
    )
    submitting.start()
    give_up_at = begun_at + seconds + options.drain_minutes * 60
    kill_at = begun_at + options.kill_every
    sample_at = progress_at = begun_at
    while submitting.is_alive() or (_num_open(database) and time.monotonic() < give_up_at):
        now = time.monotonic()
        system.start_missing()
        if submitting.is_alive() and now >= kill_at:
            kill_at += options.kill_every
            killer.kill_one()
        if now >= sample_at:
            sample_at += SAMPLE_SECONDS
            memory.sample()
        if now >= progress_at:
            progress_at += PROGRESS_SECONDS
            _tell(now - begun_at, submissions, database, broker)
        time.sleep(TICK_SECONDS)
    system.heal()
    memory.sample()
    return {
        "shape": options.shape,
        "minutes": options.minutes,
        "rate": options.rate,
        **_outcome(submissions, database),
        **_reclaims(killer.kills, database),
        "submit_p50_ms": _percentile_ms(submissions.latencies, 50),
        "submit_p99_ms": _percentile_ms(submissions.latencies, 99),
        "submit_max_ms": _percentile_ms(submissions.latencies, 100),
        "seconds": round(time.monotonic() - begun_at, 1),
        "memory_while_submitting": _memory(memory, 0, seconds),
        "memory_in_the_last_half": (last_half := _memory(memory, seconds / 2, seconds)),
        "grew": [
            name
            for name, sizes in last_half.items()
            if sizes and sizes["last_mib"] > GROWTH * sizes["first_mib"]
        ],
        "memory_while_draining": _memory(memory, seconds, float("inf")),
        "samples": memory.samples,
    }


@contextmanager
def _service(shape: str) -> Iterator[tuple[Service, RedisServer | None]]:
    with ExitStack() as stack:
        stack.enter_context(RunFolder())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if shape == "embedded":
            broker = None
            system = embedded(folder, num_api=2, concurrency=2, **SETTINGS)
        else:
            broker = stack.enter_context(RedisServer())
            system = scaled_out(
                folder,
                num_api=2,
                num_workers=2,
                concurrency=2,
                **SETTINGS,
                database_url=stack.enter_context(PostgresServer()).url,
                redis_url=SecretStr(broker.url),
            )
        yield stack.enter_context(system), broker


def _num_open(database: Database) -> int:
    return _count(database, select(func.count()).where(jobs.c.state.not_in(TERMINAL)))


def _count(database: Database, query: Select[Any]) -> int:
    with database.read() as transaction:
        return int(transaction.execute(query).scalar_one())


def _tell(
    seconds: float, submissions: Submissions, database: Database, broker: RedisServer | None
) -> None:
    waiting = "none"
    if broker is not None:
        with redis.Redis.from_url(broker.url) as connection:
            waiting = str(connection.llen("cpu"))
    sys.stderr.write(
        f"{seconds:5.0f} s: {submissions.num_sent} sent, {len(submissions.accepted)} accepted, "
        f"{_num_open(database)} not over, messages waiting: {waiting}\n"
    )


def _outcome(submissions: Submissions, database: Database) -> dict[str, Any]:
    """What became of what was accepted; every row that tells of it is looked at."""
    accepted = set(submissions.accepted)
    found = histories(database, since=min(accepted), ids=set())
    for history in found.values():
        history.assert_sound()
    over = [found[job_id] for job_id in accepted & found.keys() if found[job_id].is_over]
    took = max(h.job["finished_at"] for h in over) - min(h.job["created_at"] for h in over)
    modelled_twice = select(models.c.job_id).group_by(models.c.job_id).having(func.count() > 1)
    num_modelled_twice = select(func.count()).select_from(modelled_twice.subquery())
    return {
        "submitted": submissions.num_sent,
        "accepted": len(submissions.accepted),
        "refused": len(submissions.refused),
        "server_errors": len(submissions.server_errors),
        "states": Counter(history.state for history in over),
        "not_succeeded": sum(history.state != "succeeded" for history in over),
        "unanswered": submissions.num_sent - len(submissions.accepted) - len(submissions.refused),
        "lost": len(accepted) - len(over),
        "made_twice": len(found.keys() - accepted),
        "duplicate_models": _count(database, num_modelled_twice),
        "attempts": sum(history.job["attempt"] for history in over),
        "jobs_per_second": round(len(over) / took, 2),
    }


def _reclaims(kills: list[Kill], database: Database) -> dict[str, Any]:
    """How long the jobs of killed workers stood still."""
    stood_still = []
    with database.read() as transaction:
        for kill in kills:
            for job_id in kill.owned:
                later = (events.c.job_id == job_id) & (events.c.created_at > kill.at)
                query = select(func.min(events.c.created_at)).where(later)
                if (next_at := transaction.execute(query).scalar()) is not None:
                    stood_still.append(next_at - kill.at)
    return {
        "kills": Counter(kill.kind for kill in kills),
        "reclaimed": len(stood_still),
        "longest_reclaim_seconds": round(max(stood_still, default=0.0), 1),
        "median_reclaim_seconds": round(statistics.median(stood_still or [0.0]), 1),
    }


def _memory(memory: Memory, from_seconds: float, to_seconds: float) -> dict[str, Any]:
    return {
        name: memory.figures(name, from_seconds=from_seconds, to_seconds=to_seconds)
        for name in ("api", "worker", "forkserver")
    }


def _mib(processes: list[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        try:
            total += process.memory_info().rss / MiB
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def _percentile_ms(seconds: list[float], percent: float) -> float:
    return round(1000 * float(np.percentile(seconds, percent)), 1) if seconds else 0.0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=20, help="submissions per second")
    parser.add_argument("--kill-every", type=float, default=5, help="seconds between two kills")
    parser.add_argument("--drain-minutes", type=float, default=40, help="time for what is left")
    parser.add_argument("--shape", choices=["embedded", "scaled-out"], default="scaled-out")
    return parser.parse_args()


if __name__ == "__main__":
    main()
