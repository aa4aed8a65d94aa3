"""Kill -9 of random processes in the middle of a sweep: the same trials, winner and weights."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from store import sweeps
from tests.faults.stand import Stand, kill_all_of, only_in_full, standing, wait_out
from tests.support.client import JOB_SECONDS, OVER
from tests.support.databases import new_postgresql
from tests.support.processes import kill as kill_those_there
from tests.support.servers import RedisServer
from tests.support.service import scaled_out
from tests.support.waiting import wait_until
from tests.support.worker_examples import SHORT_LEASES, TRAINING
from tests.support.worker_sweeps import LR, Outcome, outcome_in

pytestmark = [pytest.mark.xdist_group("faults-processes"), pytest.mark.timeout(3600)]

Record = Callable[..., None]

NUM_KILLS = 3  # in a sweep
KILL_SECONDS = 1.5  # the longest time from the begin of a sweep, or a kill, to the next kill
EPOCHS = 36
# Two stacks, so that two workers have something to do.
SPACE = {
    "/model/hidden": {"choice": [[16], [24]]},
    LR: {"choice": [0.001, 0.01, 0.03, 0.1]},
}


def one_of(stand: Stand, kind: str, chance: random.Random) -> list[psutil.Process]:
    """Choose a process; there may be none, since the last kill."""
    found = stand.system.find(kind)
    return [chance.choice(found)] if found else []


def trainer(stand: Stand, chance: random.Random) -> None:
    kill_those_there(*one_of(stand, "trainer", chance))


def worker(stand: Stand, chance: random.Random) -> None:
    kill_those_there(*one_of(stand, "worker", chance))


def whole_worker(stand: Stand, chance: random.Random) -> None:
    for leader in one_of(stand, "worker", chance):
        kill_all_of(leader)


def dispatcher(stand: Stand, _chance: random.Random) -> None:
    kill_those_there(*stand.system.find("dispatcher"))


def api(stand: Stand, _chance: random.Random) -> None:
    kill_those_there(*stand.system.find("api"))


# A worker takes seconds of the CPU to start again.
KILLS = (trainer, worker, whole_worker, dispatcher, api) if "FAULTS" in os.environ else (trainer,)


@pytest.fixture(scope="module")
def four_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    folder: Path = tmp_path_factory.mktemp("four-workers")
    with new_postgresql() as url, RedisServer() as redis:
        servers: dict[str, Any] = {"database_url": url, "redis_url": redis.url}
        with standing(scaled_out(folder, num_workers=4, **SHORT_LEASES, **servers)) as stand:
            yield stand


def begin(stand: Stand, dataset_id: str) -> str:
    sweep = {
        "job": {
            "dataset": {"id": dataset_id, "target": "label"},
            "preset": "plain",
            "model": {"hidden": [16], "hidden_dropout": 0.2},
            "training": {**TRAINING, "epochs": EPOCHS},
        },
        "space": SPACE,
        "sampler": "grid",
        "pruner": {"name": "successive_halving", "reduction": 2, "min_epochs": 9},
    }
    return str(stand.client.create("/v1/sweeps", json=sweep)["id"])


def is_over(stand: Stand, sweep_id: str) -> bool:
    return stand.client.read(f"/v1/sweeps/{sweep_id}")["state"] in OVER


def ended(stand: Stand, sweep_id: str) -> Outcome:
    """Wait for the end of the sweep; each of its trials has its epochs once and in order."""
    wait_until(lambda: is_over(stand, sweep_id), JOB_SECONDS)
    with stand.database.read() as transaction:
        found = outcome_in(transaction, sweep_id)
        trials = sweeps.jobs_of(transaction, sweep_id)
    for trial in trials:
        epochs = stand.client.read(f"/v1/jobs/{trial.id}/metrics")["epoch"]
        assert epochs == list(range(1, trial.epochs_completed + 1))
    return found


@pytest.mark.parametrize(
    "place", ["scaled_out_stand", pytest.param("four_workers", marks=only_in_full)]
)
def test_kills_change_nothing_about_a_sweep(
    place: str,
    request: pytest.FixtureRequest,
    num_runs: int,
    record_fault: Record,
    chance: random.Random,
) -> None:
    stand: Stand = request.getfixturevalue(place)
    dataset_id = stand.client.upload()
    undisturbed = ended(stand, begin(stand, dataset_id))
    assert undisturbed.state == "succeeded"
    assert undisturbed.weights_sha256 is not None
    num_kills = 0
    for _ in range(num_runs):
        sweep_id = begin(stand, dataset_id)
        told = []
        for _ in range(NUM_KILLS):
            wait_out(chance.uniform(0, KILL_SECONDS))
            if is_over(stand, sweep_id):
                break
            kill = chance.choice(KILLS)
            told.append(kill.__name__)
            kill(stand, chance)
            stand.system.heal()
        num_kills += len(told)
        assert ended(stand, sweep_id) == undisturbed, f"killed: {', '.join(told)}"
    record_fault(
        f"kill -9 of random processes in a sweep, {place}",
        runs=num_runs,
        kills=num_kills,
        same_winner_and_weights=num_runs,
        trials_lost=0,
        each_epoch_recorded_once=True,
    )
