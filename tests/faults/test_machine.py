"""The whole service under random interleavings of work and faults: nothing is lost.

Real processes, killed and stopped at random moments, in both shapes of the service. After every
step the rows are read in one transaction and held to the invariants; at the end of each example all
that was broken is healed, and every job that was accepted has to come to its right end.

FAULTS=20 plays forty examples in each shape; FAULTS_SEED repeats the draws of a run that failed.
What the processes make of them is theirs: the steps of a failure are told with it.
"""

import hashlib
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
import redis
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from pydantic import SecretStr

from dropout_core.model.saved_model import WEIGHTS
from store.database.engine import Database
from store.ids import new_id
from tests.faults.history import History, histories
from tests.faults.stand import only_in_full
from tests.support import processes
from tests.support.client import Client
from tests.support.databases import new_postgresql
from tests.support.servers import RedisServer
from tests.support.service import Service, embedded, scaled_out
from tests.support.waiting import wait_until
from tests.support.worker_examples import MODEL, SWIFT, TRAINING
from worker.broker.celery_app import SUPERVISE, create_celery

pytestmark = [
    pytest.mark.xdist_group("faults-machine"),
    pytest.mark.timeout(300 * int(os.environ.get("FAULTS", "1"))),
]

NUM_STEPS = 15
ANSWER_SECONDS = 3
EVENT_SECONDS = 2
RECLAIM_SECONDS = 8  # a lease, and what the dispatcher lets pass between two looks
DRAIN_SECONDS = 90
MAX_ATTEMPTS = 6

JOBS: dict[str, dict[str, Any]] = {
    "tiny": {"epochs": 3},
    "longer": {"epochs": 120},
    "diverging": {"epochs": 3, "optimizer": {"name": "sgd", "lr": 1e30}},
}
SHORT_LEASES = {
    **SWIFT,
    "lease_seconds": 2,
    "fence_seconds": 1.5,
    "redispatch_seconds": 1,
    "max_attempts": MAX_ATTEMPTS,
}
# A shape has not all of them; what it lacks is not missed.
VICTIMS = ("trainer", "forkserver", "worker", "api", "dispatcher", "serve")


@dataclass
class Run:
    """One service and what all examples that are played on it have in common."""

    system: Service
    database: Database
    broker: RedisServer | None
    dataset_id: str = ""
    undisturbed: dict[str, History] = field(default_factory=dict)
    frozen: dict[str, History] = field(default_factory=dict)

    def prepare(self) -> None:
        """Upload the table, and run a job of each kind to which nothing happens."""
        with Client(self.system.addresses[0]) as client:
            self.dataset_id = client.upload()
            ids = {kind: client.create("/v1/jobs", json=self.job(kind))["id"] for kind in JOBS}
            for job_id in ids.values():
                client.wait_until_over(job_id)
        found = histories(self.database, since=min(ids.values()), ids=set())
        self.undisturbed = {kind: found[job_id] for kind, job_id in ids.items()}
        assert [self.undisturbed[kind].state for kind in ("tiny", "longer")] == ["succeeded"] * 2
        assert self.undisturbed["diverging"].job["state_reason"] == "diverged"

    def job(self, kind: str) -> dict[str, Any]:
        return {
            "name": kind,
            "dataset": {"id": self.dataset_id, "target": "label"},
            "model": MODEL,
            "training": {**TRAINING, **JOBS[kind]},
        }


class Faults(RuleBasedStateMachine):
    """Callers at work on a service, and somebody who breaks it.

    No draw may depend on what the service does, which differs from one time to the next: a job is
    drawn as a number, and means one of those that there are.
    """

    run: ClassVar[Run]

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []
        self.keys: dict[str, str] = {}  # to kinds
        self.accepted: dict[str, str] = {}  # to the keys that they came with
        self.cancelled: set[str] = set()
        self.deleted: set[str] = set()
        # What was asked for without an answer may have been done.
        self.perhaps_cancelled: set[str] = set()
        self.perhaps_deleted: set[str] = set()
        self.known: dict[str, History] = {}
        self.since = new_id("job")

    @initialize()
    def begin(self) -> None:
        self.submit("longer", with_key=True)

    @rule(kind=st.sampled_from(sorted(JOBS)), with_key=st.booleans())
    def submit(self, kind: str, with_key: bool) -> None:
        key = secrets.token_hex(8)
        if with_key:
            self.keys[key] = kind
        self._submit(kind, key if with_key else None)

    @rule(number=st.integers(0, 9))
    def submit_again(self, number: int) -> None:
        """With its key: whether its first answer came or not, there is one job."""
        if self.keys:
            key = sorted(self.keys)[number % len(self.keys)]
            self._submit(self.keys[key], key)

    @rule(number=st.integers(0, 9))
    def cancel(self, number: int) -> None:
        if job_id := self._any_job(number):
            self.perhaps_cancelled.add(job_id)
            answer = self._ask("POST", f"/v1/jobs/{job_id}/cancel")
            if answer is not None and answer.status_code == 202:
                self.cancelled.add(job_id)

    @rule(number=st.integers(0, 9))
    def delete(self, number: int) -> None:
        if job_id := self._any_job(number):
            self.perhaps_deleted.add(job_id)
            answer = self._ask("DELETE", f"/v1/jobs/{job_id}")
            if answer is not None and answer.status_code == 204:
                self.deleted.add(job_id)
            elif answer is not None and job_id not in self.deleted:
                assert answer.status_code in (404, 409), answer.text

    @rule(number=st.integers(0, 9))
    def look(self, number: int) -> None:
        """What the API tells of a job that is over is what it came to."""
        if job_id := self._any_job(number):
            answer = self._ask("GET", f"/v1/jobs/{job_id}")
            if answer is not None and answer.status_code == 404:
                assert job_id in self.perhaps_deleted, answer.text
            elif answer is not None and (known := self.known.get(job_id)) and known.is_over:
                assert answer.json()["state"] == known.state
                assert answer.json()["state_reason"] == known.job["state_reason"]

    @rule(
        kind=st.sampled_from(VICTIMS),
        number=st.integers(0, 9),
        at_next_event=st.booleans(),
        restarted=st.booleans(),
    )
    def kill(self, kind: str, number: int, at_next_event: bool, restarted: bool) -> None:
        if at_next_event:
            self.wait_for_an_event()
        for victim in self._any_process(kind, number):
            self._note("kill", kind, victim.pid)
            processes.kill(victim)
        if restarted:
            self.restart()

    @rule(kind=st.sampled_from(VICTIMS), number=st.integers(0, 9))
    def stop(self, kind: str, number: int) -> None:
        for victim in self._any_process(kind, number):
            self._note("stop", kind, victim.pid)
            self.run.system.stop(victim)

    @rule(number=st.integers(0, 9))
    def outlive_a_lease(self, number: int) -> None:
        """Stop a worker until another attempt has its job, and let it write what it has then."""
        _try(lambda: "running" in {history.state for history in self._histories().values()})
        before = self._count("running")
        self.stop("worker", number)
        _try(lambda: self._count("running") != before, RECLAIM_SECONDS)
        self.go_on()

    @rule()
    def go_on(self) -> None:
        """All that stood still, perhaps for longer than a lease."""
        self._note("go on")
        self.run.system.resume()

    @rule()
    def restart(self) -> None:
        """What died, as whoever watches over it would."""
        self._note("restart", *self.run.system.start_missing())

    @rule()
    def wait_for_an_event(self) -> None:
        before = self._count()
        _try(lambda: self._count() != before)

    @rule()
    def wait_for_a_lost_lease(self) -> None:
        before = self._count("requeued")
        _try(lambda: self._count("requeued") != before)

    @rule()
    def lose_messages(self) -> None:
        if self.run.broker is not None:
            self._note("lose messages")
            with redis.Redis.from_url(self.run.broker.url) as connection:
                connection.flushall()

    @rule(number=st.integers(0, 9), times=st.integers(1, 3))
    def send_messages(self, number: int, times: int) -> None:
        """For any job: one that waits, runs, is over, or is gone."""
        if self.run.broker is not None and (job_id := self._any_job(number)):
            self._note("send messages", job_id, times)
            with create_celery(self.run.system.settings) as celery:
                for _ in range(times):
                    celery.send_task(SUPERVISE, args=[job_id], queue="cpu")

    @invariant()
    def nothing_is_lost_or_changed(self) -> None:
        now = self._histories()
        for job_id, history in now.items():
            history.assert_sound()
            if before := self.known.get(job_id):
                assert before == history or not before.is_over, (before, history)
                assert history.events[: len(before.events)] == before.events
                assert history.epochs[: len(before.epochs)] == before.epochs
            if job_id in self.cancelled:
                assert history.state in ("cancelling", "cancelled"), history.job
        assert not self.deleted & now.keys()
        assert self.accepted.keys() | self.known.keys() <= now.keys() | self.perhaps_deleted
        self.known |= now

    def teardown(self) -> None:
        failure = sys.exception()
        self.run.system.heal()
        try:
            if failure is None:
                self.every_job_comes_to_its_right_end()
        except AssertionError as error:
            error.add_note(self._told())
            raise
        if failure is not None:
            failure.add_note(self._told())

    def every_job_comes_to_its_right_end(self) -> None:
        wait_until(self._are_all_over, DRAIN_SECONDS)
        self.nothing_is_lost_or_changed()
        for job_id, history in self._histories().items():
            self._assert_right_end(job_id, history)
            self.run.frozen[job_id] = history
        for job_id in self.deleted:
            self.run.frozen.pop(job_id, None)

    def _assert_right_end(self, job_id: str, history: History) -> None:
        undisturbed = self.run.undisturbed[history.job["spec"]["name"]]
        reason = history.job["state_reason"]
        if history.state == "cancelled":
            assert job_id in self.perhaps_cancelled, history.job
        elif reason == "worker_lost":
            assert history.num_attempts_since_progress >= MAX_ATTEMPTS, history.events
        else:
            assert (history.state, reason) == (undisturbed.state, undisturbed.job["state_reason"])
            assert history.learned == undisturbed.learned
        if history.state == "succeeded":
            assert history.weights_sha256 == undisturbed.weights_sha256
            root = self.run.system.settings.artifact_root
            weights = root / history.models[0]["artifact"] / WEIGHTS
            assert hashlib.sha256(weights.read_bytes()).hexdigest() == history.weights_sha256

    def _submit(self, kind: str, key: str | None) -> None:
        headers = {} if key is None else {"Idempotency-Key": key}
        answer = self._ask("POST", "/v1/jobs", json=self.run.job(kind), headers=headers)
        if answer is None:
            return
        assert answer.status_code == 202, answer.text
        job_id = answer.json()["id"]
        if key is not None:
            earlier = [job_id for job_id, with_key in self.accepted.items() if with_key == key]
            assert earlier in ([], [job_id])
        self.accepted[job_id] = key or ""

    def _ask(self, method: str, path: str, **request: Any) -> httpx.Response | None:
        """The answer of whoever is there to give one, as a load balancer would have it."""
        for address in self.run.system.addresses:
            try:
                answer = httpx.request(
                    method, address + path, timeout=ANSWER_SECONDS, trust_env=False, **request
                )
            except httpx.ConnectError:
                continue
            except httpx.TransportError as error:
                self._note(method, path, repr(error))
                return None
            self._note(method, path, answer.status_code, answer.headers.get("location", ""))
            assert answer.status_code < 500, answer.text
            return answer
        self._note(method, path, "nobody is there")
        return None

    def _any_job(self, number: int) -> str | None:
        ids = sorted(self.accepted)
        return ids[number % len(ids)] if ids else None

    def _any_process(self, kind: str, number: int) -> list[Any]:
        found = self.run.system.find(kind)
        return [found[number % len(found)]] if found else []

    def _histories(self) -> dict[str, History]:
        return histories(self.run.database, since=self.since, ids=set(self.known))

    def _count(self, *types: str) -> int:
        """The events of all jobs, or those of some types."""
        happened = [e for history in self._histories().values() for e in history.events]
        return sum(not types or event["type"] in types for event in happened)

    def _are_all_over(self) -> bool:
        return all(history.is_over for history in self._histories().values())

    def _told(self) -> str:
        rows = [history.job for history in self._histories().values()]
        return "\n".join([*self.steps, "and the jobs now:", *map(str, rows)])

    def _note(self, *step: object) -> None:
        self.steps.append(" ".join(map(str, (round(time.time(), 3), *step))))


def _try(condition: Callable[[], bool], timeout_seconds: float = EVENT_SECONDS) -> None:
    """Give it the time to come true; nothing is wrong if it does not."""
    with suppress(AssertionError):
        wait_until(condition, timeout_seconds)


def play(run: Run, *, num_examples: int) -> None:
    """Play that many examples. Raises AssertionError, with the seed, where an invariant fails."""

    class Machine(Faults):
        pass

    Machine.run = run
    chosen = int(os.environ.get("FAULTS_SEED", secrets.randbits(32)))
    try:
        run_state_machine_as_test(
            seed(chosen)(Machine),
            settings=settings(
                max_examples=num_examples,
                stateful_step_count=NUM_STEPS,
                deadline=None,
                database=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
    except BaseException as error:
        error.add_note(f"FAULTS_SEED={chosen}")
        raise
    assert histories(run.database, since="job_z", ids=set(run.frozen)) == run.frozen


@pytest.fixture(params=["embedded", "scaled_out"])
def machine_run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    with ExitStack() as stack:
        if request.param == "embedded":
            broker = None
            system = embedded(tmp_path, concurrency=2, **SHORT_LEASES)
        else:
            broker = stack.enter_context(RedisServer())
            url = stack.enter_context(new_postgresql())
            system = scaled_out(
                tmp_path,
                num_api=2,
                num_workers=2,
                concurrency=1,
                database_url=url,
                redis_url=SecretStr(broker.url),
                **SHORT_LEASES,
            )
        stack.enter_context(system)
        database = stack.enter_context(closing(Database(system.settings.database)))
        run = Run(system, database, broker)
        run.prepare()
        yield run


@only_in_full
def test_whatever_happens_every_job_comes_to_its_right_end(
    machine_run: Run, num_runs: int, record_fault: Callable[..., None]
) -> None:
    num_examples = 2 * num_runs
    play(machine_run, num_examples=num_examples)
    shape = "embedded" if machine_run.broker is None else "scaled out"
    states = Counter(history.state for history in machine_run.frozen.values())
    record_fault(f"everything at random, {shape}", runs=num_examples, **states)
