"""What is stored gets damaged: it is refused, and what lies before it serves.

A job is stopped in the middle, its newest checkpoint is damaged, and it ends with the same bits.
"""

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.main import create_app
from dropout_core.training.checkpoint import CheckpointError, load_checkpoint, position
from store.database.engine import Database
from store.operations.retention import DAY, sweep
from tests.faults.stand import only_in_full
from tests.support.in_process import TestClient
from tests.support.processes import warm_trainer_server
from tests.support.store_examples import GONE, claim, grow_older
from tests.support.worker_examples import (
    EPOCHS,
    Result,
    get_job,
    models_of,
    new_job,
    new_worker,
    result,
    run_to_end,
    supervising,
    wait_for_epoch,
)
from worker.attempt import Worker
from worker.supervisor import supervise

pytestmark = pytest.mark.xdist_group("faults-checkpoints")

Damage = Callable[[Path, random.Random], None]
HEADER_BYTES = 8


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    warm_trainer_server()


@pytest.fixture
def worker(sqlite_url: str, tmp_path: Path) -> Iterator[Worker]:
    with closing(Database(sqlite_url)) as database:
        yield new_worker(database, tmp_path / "data", database_url=sqlite_url)


def cut_short(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))])


def emptied(path: Path, _: random.Random) -> None:
    path.write_bytes(b"")


def bit_flipped_in_the_header(path: Path, chance: random.Random) -> None:
    length = int.from_bytes(path.read_bytes()[:HEADER_BYTES], "little")
    flip(path, chance.randrange(HEADER_BYTES + length), chance.randrange(8))


def bit_flipped_in_a_tensor(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    start = HEADER_BYTES + int.from_bytes(content[:HEADER_BYTES], "little")
    flip(path, chance.randrange(start, len(content)), chance.randrange(8))


def bit_flipped(path: Path, chance: random.Random) -> None:
    flip(path, chance.randrange(path.stat().st_size), chance.randrange(8))


def named_for_another_content(path: Path, chance: random.Random) -> None:
    before, digest, after = path.name.split(".")
    place = chance.randrange(len(digest))
    other = chance.choice([digit for digit in "0123456789abcdef" if digit != digest[place]])
    path.rename(path.with_name(f"{before}.{digest[:place]}{other}{digest[place + 1 :]}.{after}"))


def made_to_say_that_it_is_newer(path: Path, _: random.Random) -> None:
    """Of another content too, or it would only be tried first."""
    digest, after = path.name.split(".")[1:]
    damaged = path.with_name(f"epoch-{EPOCHS - 1:06d}-batch-000000.{digest}.{after}")
    shutil.copy(path, damaged)
    flip(damaged, 100, 0)


def flip(path: Path, place: int, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


DAMAGES: list[Any] = [
    cut_short,
    bit_flipped_in_a_tensor,
    *(
        pytest.param(damage, marks=only_in_full)
        for damage in (
            emptied,
            bit_flipped_in_the_header,
            named_for_another_content,
            made_to_say_that_it_is_newer,
        )
    ),
]


def stop_in_the_middle(worker: Worker, job_id: str, *, after_epoch: int) -> list[Path]:
    """The job's checkpoints, oldest first, once its worker was stopped and has handed it back."""
    stopped = replace(worker, draining=type(worker.draining)())
    with supervising(job_id, stopped):
        wait_for_epoch(worker, job_id, after_epoch)
        stopped.draining.set()
    assert get_job(worker, job_id).state == "queued"
    return checkpoints(worker, job_id)


def checkpoints(worker: Worker, job_id: str) -> list[Path]:
    keys = worker.artifacts.list(f"jobs/{job_id}")
    paths = [worker.settings.artifact_root / key for key in keys if position(Path(key).name)]
    return sorted(paths, key=lambda path: path.name)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_refused_and_the_one_before_serves(
    worker: Worker,
    uninterrupted: Result,
    damage: Damage,
    num_runs: int,
    record_fault: Callable[..., None],
    chance: random.Random,
) -> None:
    for _ in range(num_runs):
        job_id = new_job(worker)
        paths = stop_in_the_middle(worker, job_id, after_epoch=chance.randrange(3, EPOCHS // 2))
        damage(paths[-1], chance)
        newest = checkpoints(worker, job_id)[-1]
        with pytest.raises(CheckpointError):
            load_checkpoint(newest)
        assert run_to_end(worker, job_id).state == "succeeded"
        assert result(worker, job_id) == uninterrupted
    record_fault(f"checkpoint {damage.__name__}", runs=num_runs, same_bits=num_runs)


def test_without_any_checkpoint_that_holds_a_job_begins_anew(
    worker: Worker, uninterrupted: Result
) -> None:
    job_id = new_job(worker)
    for path in stop_in_the_middle(worker, job_id, after_epoch=5):
        cut_short(path, random.Random(0))
    assert run_to_end(worker, job_id).state == "succeeded"
    assert result(worker, job_id) == uninterrupted


@pytest.mark.parametrize("under_its_own_name", [False, pytest.param(True, marks=only_in_full)])
def test_a_checkpoint_of_another_job_is_refused(
    worker: Worker,
    uninterrupted: Result,
    record_fault: Callable[..., None],
    *,
    under_its_own_name: bool,
) -> None:
    """Of the same shapes, so that only its name or its owner can tell."""
    job_id, other = new_job(worker), new_job(worker, seed=8)
    newest = stop_in_the_middle(worker, job_id, after_epoch=5)[-1]
    foreign = stop_in_the_middle(worker, other, after_epoch=20)[-1]
    target = newest.with_name(foreign.name) if under_its_own_name else newest
    shutil.copy(foreign, target)
    assert run_to_end(worker, job_id).state == "succeeded"
    assert result(worker, job_id) == uninterrupted
    record_fault("checkpoint replaced by another job's", runs=1, same_bits=1)


@pytest.mark.parametrize("damage", [cut_short, bit_flipped])
def test_a_damaged_table_fails_the_job_as_invalid_data(worker: Worker, damage: Damage) -> None:
    job_id = new_job(worker)
    [key] = worker.artifacts.list("datasets")
    damage(worker.artifacts.fetch(key), random.Random(1))
    supervise(job_id, worker)
    job = get_job(worker, job_id)
    assert (job.state, job.state_reason) == ("failed", "invalid_data")
    assert "Traceback" not in (job.detail or "")


@pytest.mark.parametrize("name", ["model.safetensors", "model.json"])
def test_a_damaged_model_is_not_served(worker: Worker, name: str) -> None:
    job_id = new_job(worker, epochs=1)
    supervise(job_id, worker)
    [model] = models_of(worker, job_id)
    path = worker.artifacts.fetch(f"{model.artifact}/{name}")
    content = path.read_bytes()
    # Of the weights any bit; of the manifest the name of a class, which is JSON as good as before.
    damaged = content.replace(b"same", b"some") if name == "model.json" else content[:-1] + b"\x7f"
    assert damaged != content
    path.write_bytes(damaged)
    app = create_app(worker.settings)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        rows = {"instances": [{"x": 1.5, "y": 1.5}]}
        answer = client.post(f"/v1/models/{model.id}/predict", json=rows)
        assert answer.status_code == 500
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "model_error"
        assert "Traceback" not in answer.text
        assert client.get(f"/v1/models/{model.id}").status_code == 200


def test_a_model_that_was_put_and_never_committed_is_collected(
    worker: Worker, uninterrupted: Result, record_fault: Callable[..., None]
) -> None:
    """As a kill between artifact and commit leaves it: a whole model, and no row that says so."""
    job_id = new_job(worker)
    orphans = [f"jobs/{job_id}/1/model/{name}" for name in ("model.json", "model.safetensors")]
    with worker.database.write() as transaction:
        lost = claim(transaction, job_id, lease_seconds=GONE)
    assert lost is not None
    for key in orphans:
        source = worker.settings.data_dir / "source"
        source.write_text(key)
        worker.artifacts.put(key, source)
    run_to_end(worker, job_id)
    assert result(worker, job_id) == uninterrupted
    assert not set(orphans) & set(worker.artifacts.list("jobs"))

    # And where the job's own worker could not tidy up: by the sweep, once they are old.
    for key in orphans:
        source.write_text(key)
        worker.artifacts.put(key, source)
        grow_older(worker.artifacts.fetch(key), DAY)
    [model] = models_of(worker, job_id)
    assert sweep(worker.settings, worker.database, worker.artifacts).num_artifacts == len(orphans)
    assert {key.rpartition("/")[0] for key in worker.artifacts.list("jobs")} == {model.artifact}
    record_fault("killed between artifact and commit", runs=1, orphans_collected=len(orphans))
