"""The disk is full, wherever something is written: it is said so, and nothing is half there.

What had its place before is still read. Once there is space again, all goes on by itself.
"""

import gzip
import io
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import pytest

from app.main import create_app
from dropout_core.files import NO_SPACE
from dropout_core.training.checkpoint import load_checkpoint
from store.artifacts.local_folder import LocalArtifacts
from store.database.engine import Database
from store.settings import Settings
from tests.faults.stand import only_in_full
from tests.support.in_process import TestClient
from tests.support.processes import warm_trainer_server
from tests.support.service import embedded
from tests.support.small_disks import MiB, SmallDisk, small_disk
from tests.support.trainer_process import assignment, training
from tests.support.worker_examples import (
    ENDLESS,
    SWIFT,
    artifacts_of,
    get_job,
    new_job,
    new_worker,
    supervising,
    wait_for_epoch,
)
from worker.attempt import Worker
from worker.messages import Failed
from worker.supervisor import supervise

pytestmark = pytest.mark.xdist_group("faults-storage")

Record = Callable[..., None]


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    """Trainers, and readers too, start in a moment."""
    warm_trainer_server()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", size_bytes=8 * MiB) as disk:
        yield disk


@pytest.fixture
def worker(sqlite_url: str, disk: SmallDisk) -> Iterator[Worker]:
    """A worker whose artifacts and scratch are on the small disk, and whose database is not."""
    with closing(Database(sqlite_url)) as database:
        yield new_worker(database, disk.folder / "data", database_url=sqlite_url)


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def assert_disk_full(answer: httpx.Response) -> None:
    assert answer.status_code == 507, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "disk_full"


# Workers


def test_at_a_checkpoint_the_job_fails_and_says_why(
    worker: Worker, disk: SmallDisk, num_runs: int, record_fault: Record
) -> None:
    for run in range(num_runs):
        disk.free()
        job_id = new_job(worker, **ENDLESS)
        with supervising(job_id, worker):
            wait_for_epoch(worker, job_id, 3 + run)
            disk.fill()
        job = get_job(worker, job_id)
        assert (job.state, job.state_reason, job.detail) == ("failed", "disk_full", NO_SPACE)
        assert artifacts_of(worker, job_id) == []
        assert files_of(worker.scratch) == []
    record_fault("disk full at a checkpoint", runs=num_runs, failed_disk_full=num_runs)


def test_the_checkpoints_before_the_full_disk_still_load(tmp_path: Path, disk: SmallDisk) -> None:
    artifacts = LocalArtifacts(disk.folder / "artifacts")
    write_table(tmp_path / "table")
    artifacts.put("datasets/1.parquet", tmp_path / "table")
    with training(assignment(disk.folder, **ENDLESS)) as trainer:
        trainer.epochs(5)
        disk.fill()
        assert trainer.last() == Failed("disk_full", NO_SPACE)
    put = artifacts.list("jobs/job_1")
    assert 1 <= len(put) <= 2
    for key in put:
        load_checkpoint(artifacts.fetch(key))
    assert [path for path in files_of(disk.folder / "artifacts") if path.name[0] == "."] == []
    assert files_of(disk.folder / "scratch") == []


def write_table(path: Path) -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 200)).round(4)
    pl.DataFrame({"x": x, "y": y, "label": np.where(x * y > 0, "same", "other")}).write_parquet(
        path
    )


def test_at_the_models_artifact_the_job_fails_and_leaves_nothing(
    worker: Worker, disk: SmallDisk, record_fault: Record
) -> None:
    """Whichever of its two files it is that has no room."""
    # No checkpoint comes before its end: the space is all there for the model.
    settings = worker.settings.model_copy(update={"checkpoint_seconds": 1e6})
    patient = replace(worker, settings=settings)
    rooms = (0, 4096)
    for leave_bytes in rooms:
        disk.free()
        job_id = new_job(patient)
        disk.fill(leave_bytes=leave_bytes)
        supervise(job_id, patient)
        job = get_job(worker, job_id)
        assert (job.state, job.state_reason) == ("failed", "disk_full"), leave_bytes
        assert files_of(worker.scratch) == []
        assert artifacts_of(worker, job_id) == []
    record_fault("disk full at the artifact", runs=len(rooms), failed_disk_full=len(rooms))


def test_without_room_for_scratch_the_job_fails_and_the_worker_lives(
    sqlite_url: str, tmp_path: Path
) -> None:
    with (
        closing(Database(sqlite_url)) as database,
        small_disk(tmp_path / "disk", size_bytes=8 * MiB, num_files=100) as disk,
    ):
        worker = new_worker(database, disk.folder / "data", database_url=sqlite_url)
        job_id = new_job(worker)
        disk.use_up_names()
        supervise(job_id, worker)
        job = get_job(worker, job_id)
        assert (job.state, job.state_reason, job.detail) == ("failed", "disk_full", NO_SPACE)


def test_a_put_that_has_no_room_leaves_nothing_aside(tmp_path: Path, disk: SmallDisk) -> None:
    source = tmp_path / "source"  # elsewhere, so that it is copied
    source.write_bytes(bytes(2 * MiB))
    artifacts = LocalArtifacts(disk.folder)
    disk.fill(leave_bytes=MiB)
    with pytest.raises(OSError, match=NO_SPACE):
        artifacts.put("datasets/1.parquet", source)
    assert [path.name for path in files_of(disk.folder)] == ["ballast"]
    assert source.stat().st_size == 2 * MiB


# The API alone


class Place:
    """The API, with its data directory on the small disk, and its database there if asked."""

    def __init__(self, client: TestClient, settings: Settings) -> None:
        self.client = client
        self.settings = settings

    @property
    def in_progress(self) -> list[Path]:
        """What lies where uploads are received and read."""
        uploads = self.settings.data_dir / "uploads"
        return list(uploads.rglob("*")) if uploads.exists() else []

    def ids(self, kind: str) -> list[str]:
        return [row["id"] for row in self.client.get(f"/v1/{kind}?limit=100").json()["data"]]


def api(settings: Settings) -> TestClient:
    app = create_app(settings)
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


@pytest.fixture
def place(sqlite_url: str, disk: SmallDisk) -> Iterator[Place]:
    settings = Settings(data_dir=disk.folder / "data", database_url=sqlite_url, **SWIFT)
    with api(settings) as client:
        yield Place(client, settings)


def numbers(num_rows: int = 20_000) -> pl.DataFrame:
    random_numbers = np.random.default_rng(0).normal(size=(num_rows, 2)).round(4)
    return pl.DataFrame(random_numbers, schema=["x", "y"])


def as_csv(frame: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    frame.write_csv(content)
    return content.getvalue()


def as_parquet(frame: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    frame.write_parquet(content)
    return content.getvalue()


def as_npz(frame: pl.DataFrame) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, x=frame.to_numpy())
    return content.getvalue()


def as_gzip(frame: pl.DataFrame) -> bytes:
    return gzip.compress(as_csv(frame))


@pytest.mark.parametrize(
    "form",
    [as_csv, *(pytest.param(form, marks=only_in_full) for form in (as_gzip, as_parquet, as_npz))],
)
def test_an_upload_is_stored_whole_or_refused_and_leaves_nothing(
    place: Place,
    disk: SmallDisk,
    num_runs: int,
    record_fault: Record,
    form: Callable[[pl.DataFrame], bytes],
    chance: random.Random,
) -> None:
    """Wherever it runs out of room: received, unpacked, read, or put in its place."""
    content = form(numbers())
    rooms = [0, len(content) // 2, len(content) + 8192, len(content) + 200_000]
    rooms += chance.choices(range(MiB), k=num_runs - 1)
    stored = 0
    for leave_bytes in rooms:
        disk.free()
        disk.fill(leave_bytes=leave_bytes)
        answer = place.client.post("/v1/datasets", files={"file": ("table", content)})
        if answer.status_code == 201:
            stored += 1
        else:
            assert_disk_full(answer)
        assert place.in_progress == []
        assert len(place.ids("datasets")) == stored
        assert len(files_of(place.settings.artifact_root)) == stored
    disk.free()
    assert stored < len(rooms)
    assert place.client.post("/v1/datasets", files={"file": content}).status_code == 201
    record_fault(f"disk full at an upload ({form.__name__})", runs=len(rooms), stored=stored)


def test_a_form_that_has_no_room_in_the_temporary_folder_is_refused(
    place: Place, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(disk.folder))
    content = as_csv(numbers(200_000))
    disk.fill(leave_bytes=MiB)
    assert_disk_full(place.client.post("/v1/datasets", files={"file": content}))
    assert place.in_progress == []
    assert [path.name for path in files_of(disk.folder)] == ["ballast"]


def test_a_file_of_predictions_is_answered_whole_or_refused(place: Place, disk: SmallDisk) -> None:
    with closing(Database(place.settings.database)) as database:
        worker = new_worker(
            database, place.settings.data_dir, database_url=place.settings.database_url
        )
        supervise(new_job(worker, epochs=1), worker)
    [model_id] = place.ids("models")
    content = as_csv(numbers(4_000))
    for media_type in ("text/csv", "application/vnd.apache.parquet"):
        statuses = []
        for leave_bytes in (0, len(content) // 2, len(content) + 8192, 3 * len(content), 7 * MiB):
            disk.free()
            disk.fill(leave_bytes=leave_bytes)
            answer = place.client.post(
                f"/v1/models/{model_id}/predict-file",
                files={"file": content},
                headers={"Accept": media_type},
            )
            statuses.append(answer.status_code)
            if answer.status_code != 200:
                assert_disk_full(answer)
            assert place.in_progress == []
        assert statuses[:3] == [507] * 3
        assert statuses[-1] == 200


def test_what_the_database_has_no_room_for_is_refused_and_not_half_stored(
    disk: SmallDisk, num_runs: int, record_fault: Record
) -> None:
    settings = Settings(data_dir=disk.folder / "data", **SWIFT)
    with api(settings) as client:
        place = Place(client, settings)
        uploaded = client.post("/v1/datasets", files={"file": as_csv(numbers(100))}).json()
        job = {"dataset": {"id": uploaded["id"], "target": "y"}, "training": {"epochs": 1}}
        accepted: list[str] = []
        refused = 0
        for run in range(10 * num_runs):
            disk.free()
            disk.fill(leave_bytes=4096 * (run % 10))
            headers = {"Idempotency-Key": f"run-{run}"}
            while (answer := client.post("/v1/jobs", json=job)).status_code == 202:
                accepted.append(answer.json()["id"])
            assert_disk_full(answer)
            assert_disk_full(client.post("/v1/jobs", json=job, headers=headers))
            refused += 2
            assert sorted(listed(place)) == sorted(accepted)
            disk.free()
            answer = client.post("/v1/jobs", json=job, headers=headers)
            assert answer.status_code == 202, answer.text
            accepted.append(answer.json()["id"])
        for job_id in accepted:
            events = client.get(f"/v1/jobs/{job_id}/events").json()["data"]
            assert [event["type"] for event in events] == ["queued"]
    record_fault("disk full at an SQLite write", runs=10 * num_runs, answered_507=refused)


def listed(place: Place) -> list[str]:
    found: list[str] = []
    while True:
        after = {"after": found[-1]} if found else {}
        page = place.client.get("/v1/jobs", params={"limit": 100, **after}).json()
        found += [job["id"] for job in page["data"]]
        if not page["has_more"]:
            return found


# The whole service


READS = (
    *("/v1/datasets", "/v1/jobs", "/v1/models", "/metrics", "/livez", "/openapi.json", "/docs"),
    *("/v1/datasets/{dataset}", "/v1/jobs/{job}", "/v1/models/{model}"),
    *("/v1/jobs/{job}/events", "/v1/jobs/{job}/metrics"),
)


@only_in_full
def test_a_service_on_a_full_disk_answers_reads_and_goes_on_once_there_is_room(
    tmp_path: Path, record_fault: Record
) -> None:
    """Records, artifacts, metrics and the log are all on that disk, and it is full for a while."""
    with (
        small_disk(tmp_path / "disk", size_bytes=16 * MiB) as disk,
        embedded(disk.folder / "service", **SWIFT) as service,
    ):
        client = service.client
        done = client.submit(epochs=2)
        model = client.wait_until_over(done)["model"]
        dataset = client.job(done)["resolved_config"]["dataset"]["id"]
        running = client.submit(epochs=3000)
        client.wait_for_epoch(running, 1)
        disk.fill()
        names = {"dataset": dataset, "job": done, "model": model}
        for path in READS:
            assert client.request("GET", path.format(**names)).status_code == 200, path
        instances = {"instances": [{"x": 1.5, "y": 1.5}]}
        answer = client.request("POST", f"/v1/models/{model}/predict", json=instances)
        assert answer.status_code == 200, answer.text
        content = {"file": as_csv(numbers(100))}
        assert_disk_full(client.request("POST", "/v1/datasets", files=content))
        api_process, worker_process = service.only("api"), service.only("worker")
        assert client.job(running)["state"] == "running"

        disk.free()
        state = client.wait_until_over(running)
        assert state["state"] == "succeeded" or state["state_reason"] == "disk_full", state
        assert client.wait_until_over(client.submit(epochs=2))["state"] == "succeeded"
        assert (service.only("api"), service.only("worker")) == (api_process, worker_process)
    record_fault("disk full below the whole service", runs=1, reads=len(READS), jobs_lost=0)
