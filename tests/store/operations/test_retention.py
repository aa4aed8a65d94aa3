from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from store import datasets, events, jobs, models
from store.access import idempotency
from store.access.idempotency import KEPT_SECONDS
from store.access.keys import DEFAULT_TENANT
from store.artifacts.local_folder import LocalArtifacts
from store.database.engine import Database
from store.database.tables import database_now, idempotency_keys
from store.database.tables import jobs as jobs_table
from store.ids import new_id
from store.jobs import Claim
from store.operations import retention
from store.operations.retention import DAY, HOUR, Swept, sweep, sweeping
from store.settings import Settings
from tests.support.store_examples import (
    TRAINED,
    claim,
    claim_again,
    epoch,
    grow_older,
    new_claim,
    new_job,
)
from tests.support.waiting import wait_until

NOTHING = Swept(num_artifacts=0, num_temporary=0, num_keys=0, num_events=0)
LEASE = Settings().lease_seconds
KEPT_DAYS = Settings().keep_events_days
NUM_EPOCHS = 5

# The questions to the rows need to be asked of each kind of database once.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Place:
    """A database and the data directory that goes with it."""

    def __init__(self, database: Database, url: str, data_dir: Path) -> None:
        self.database = database
        self.settings = Settings(data_dir=data_dir, database_url=url)
        self.artifacts = LocalArtifacts(self.settings.artifact_root)

    def put(self, *keys: str, age: float = 0) -> None:
        for key in keys:
            source = self.settings.data_dir / "source"
            source.parent.mkdir(exist_ok=True)
            source.write_text(key)
            self.artifacts.put(key, source)
            grow_older(self.artifacts.fetch(key), age)

    def sweep(self) -> Swept:
        return sweep(self.settings, self.database, self.artifacts)

    def write(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        with self.database.write() as transaction:
            return function(transaction, *args, **options)

    def new_dataset(self) -> str:
        """The key of its table."""
        dataset_id = new_id("ds")
        facts = {"format": "csv", "sha256": "0" * 64, "size_bytes": 1, "num_rows": 1}
        key = f"datasets/{dataset_id}.parquet"
        named = {"id": dataset_id, "name": "flowers", "artifact": key}
        self.write(datasets.create, columns=[], **facts, **named)
        return key

    def metrics(self, job_id: str) -> list[int]:
        """The epochs that its history has."""
        with self.database.read() as transaction:
            return [row["epoch"] for row in jobs.metrics(transaction, job_id, after_epoch=0)]

    def succeed(self, claim: jobs.Claim) -> models.Model:
        artifact = f"jobs/{claim.job_id}/{claim.attempt}/model"
        trained = models.TrainedModel(**{**vars(TRAINED), "artifact": artifact})
        self.write(jobs.succeed, claim, reason="completed", trained=trained)
        with self.database.read() as transaction:
            [model_id] = models.of_jobs(transaction, [claim.job_id]).values()
            return models.get(transaction, model_id, tenant=DEFAULT_TENANT)


def of_attempts(job_id: str, *attempts: int) -> list[str]:
    names = ("checkpoints/1", "folds/0", "model/model.json", "model/model.safetensors")
    return [f"jobs/{job_id}/{attempt}/{name}" for attempt in attempts for name in names]


@pytest.fixture
def place(database: Database, database_url: str, tmp_path: Path) -> Place:
    """An old row in it makes all that the tests put young enough to be this database's."""
    place = Place(database, database_url, tmp_path / "data")
    place.write(new_job)
    return place


@on_sqlite
def test_nothing_of_a_job_that_is_not_over_is_deleted(place: Place) -> None:
    """Nor of its attempts before: the next trainer may go on from what they left."""
    lost = place.write(new_claim, lease_seconds=-1)
    running = place.write(claim, lost.job_id)
    queued, cancelling = place.write(new_job).id, place.write(new_claim).job_id
    place.write(jobs.cancel, cancelling, tenant=DEFAULT_TENANT)
    keys = [
        *of_attempts(running.id, 1, 2),
        *of_attempts(queued, 1),
        *of_attempts(cancelling, 1),
    ]
    place.put(*keys, age=DAY)
    assert place.sweep() == NOTHING
    assert place.artifacts.list("jobs") == sorted(keys)


def test_of_a_job_that_succeeded_its_model_stays(place: Place) -> None:
    first = place.write(new_claim)
    place.write(jobs.release, first)
    second = place.write(claim_again, first.job_id)
    place.put(*of_attempts(second.job_id, 1, 2), age=LEASE + 60)
    model = place.succeed(second)
    assert place.sweep().num_artifacts == 6
    assert place.artifacts.list("jobs") == [
        f"{model.artifact}/{name}" for name in ("model.json", "model.safetensors")
    ]


@on_sqlite
def test_a_model_outlives_its_job(place: Place) -> None:
    mine = place.write(new_claim)
    place.put(*of_attempts(mine.job_id, 1), age=LEASE + 60)
    model = place.succeed(mine)
    place.write(jobs.remove, mine.job_id, tenant=DEFAULT_TENANT)
    place.sweep()
    assert len(place.artifacts.list(model.artifact)) == 2

    place.write(models.remove, model.id, tenant=DEFAULT_TENANT)
    place.sweep()
    assert place.artifacts.list("jobs") == []


@on_sqlite
def test_nothing_is_left_of_a_job_that_failed(place: Place) -> None:
    mine = place.write(new_claim)
    place.put(*of_attempts(mine.job_id, 1), age=LEASE + 60)
    place.write(jobs.fail, mine, reason="diverged", detail="")
    assert place.sweep().num_artifacts == 4
    assert place.artifacts.list("jobs") == []


@on_sqlite
def test_what_is_younger_than_a_lease_is_left(place: Place) -> None:
    keys = of_attempts(new_id("job"), 1)
    place.put(*keys, age=LEASE - 30)
    assert place.sweep() == NOTHING
    assert place.artifacts.list("jobs") == sorted(keys)


@on_sqlite
def test_a_trainer_about_to_commit_loses_nothing(place: Place) -> None:
    """However long its files have waited for the row of its model."""
    mine = place.write(new_claim)
    place.put(*of_attempts(mine.job_id, 1), age=DAY)
    place.sweep()
    model = place.succeed(mine)
    place.sweep()
    assert len(place.artifacts.list(model.artifact)) == 2


@on_sqlite
def test_a_table_without_a_dataset_goes_after_an_hour(place: Place) -> None:
    kept = place.new_dataset()
    young, old = (f"datasets/{new_id('ds')}.parquet" for _ in range(2))
    place.put(kept, old, age=HOUR + 60)
    place.put(young, age=HOUR - 60)
    assert place.sweep().num_artifacts == 1
    assert place.artifacts.list("datasets") == sorted([kept, young])


@on_sqlite
def test_what_a_killed_put_has_left_goes_too(place: Place) -> None:
    kept = place.new_dataset()
    place.put(kept, age=DAY)
    half = place.artifacts.fetch(kept).with_name(f".{Path(kept).name}.half")
    half.touch()
    grow_older(half, HOUR + 60)
    assert place.sweep().num_artifacts == 1
    assert not half.exists()
    assert place.artifacts.list("datasets") == [kept]


@on_sqlite
@pytest.mark.parametrize("folder", ["uploads", "scratch"])
def test_an_upload_goes_a_day_after_it_was_last_written_to(place: Place, folder: str) -> None:
    uploads = place.settings.data_dir / folder
    for name in ("over", "slow"):
        (uploads / name).mkdir(parents=True)
        (uploads / name / "received-0").touch()
        grow_older(uploads / name / "received-0", DAY + 60 if name == "over" else 0)
        grow_older(uploads / name, DAY + 60)
    assert place.sweep().num_temporary == 1
    assert [path.name for path in uploads.iterdir()] == ["slow"]


def test_an_idempotency_key_goes_after_a_day(place: Place) -> None:
    ages = {"old": KEPT_SECONDS + 60, "young": KEPT_SECONDS - 60}
    for key in ages:
        place.write(idempotency.reserve, key, request_sha256="", tenant=DEFAULT_TENANT)
    for key, age in ages.items():
        made = update(idempotency_keys).where(idempotency_keys.c.key == key)
        with place.database.write() as transaction:
            transaction.execute(made.values(created_at=database_now() - age))
    assert place.sweep().num_keys == 1
    assert place.sweep() == NOTHING


def test_a_key_of_a_request_that_died_before_the_clock_was_set_back_is_young(place: Place) -> None:
    """It is abandoned as long after the sweep as any other."""
    place.write(idempotency.reserve, "key", request_sha256="", tenant=DEFAULT_TENANT)
    with place.database.write() as transaction:
        transaction.execute(update(idempotency_keys).values(created_at=database_now() + DAY))
    assert place.sweep() == NOTHING
    with place.database.read() as transaction:
        ahead = select(idempotency_keys.c.created_at - database_now())
        assert transaction.execute(ahead).scalar_one() <= 0


def test_the_epochs_of_a_job_that_was_over_long_ago_are_events_no_more(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its metrics and the rest of its story stay, and so does all of a younger job."""
    monkeypatch.setattr(retention, "EVENTS_PER_TRANSACTION", 2)
    old, young = finish_with_epochs(place), finish_with_epochs(place)
    unfinished = run_epochs(place)
    over_since(place, old, KEPT_DAYS * DAY + 60)
    over_since(place, young, KEPT_DAYS * DAY - 60)

    assert place.sweep() == replace(NOTHING, num_events=NUM_EPOCHS)
    assert place.sweep() == NOTHING
    story = {1: "queued", 2: "running", 3 + NUM_EPOCHS: "succeeded"}
    assert story_of(place, old) == story
    assert place.metrics(old) == list(range(1, NUM_EPOCHS + 1))
    for job_id in (young, unfinished.job_id):
        assert list(story_of(place, job_id).values()).count("epoch") == NUM_EPOCHS


@on_sqlite
def test_what_is_left_of_a_story_is_read_on_from_anywhere(place: Place) -> None:
    old = finish_with_epochs(place)
    over_since(place, old, KEPT_DAYS * DAY + 60)
    place.sweep()
    last = 3 + NUM_EPOCHS
    assert [next_after(place, old, sequence) for sequence in (0, 1, 2, 3, last - 1)] == [
        *(1, 2, last, last, last)
    ]


def run_epochs(place: Place) -> Claim:
    mine: Claim = place.write(new_claim)
    for number in range(1, NUM_EPOCHS + 1):
        place.write(jobs.record, mine, epoch(number))
    return mine


def finish_with_epochs(place: Place) -> str:
    mine = run_epochs(place)
    place.succeed(mine)
    return mine.job_id


def over_since(place: Place, job_id: str, seconds: float) -> None:
    ended = update(jobs_table).where(jobs_table.c.id == job_id)
    with place.database.write() as transaction:
        transaction.execute(ended.values(finished_at=database_now() - seconds))


def story_of(place: Place, job_id: str) -> dict[int, str]:
    with place.database.read() as transaction:
        found = events.page(transaction, job_id, after=0, limit=100)
    return {event.sequence: event.type for event in found}


def next_after(place: Place, job_id: str, sequence: int) -> int:
    with place.database.read() as transaction:
        [event] = events.page(transaction, job_id, after=sequence, limit=1)
    return event.sequence


@on_sqlite
def test_artifacts_from_before_the_database_are_not_its_own(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    """Somebody has set up a new database and kept the data directory."""
    place = Place(database, database_url, tmp_path / "data")
    keys = [f"datasets/{new_id('ds')}.parquet", *of_attempts(new_id("job"), 1), "jobs/1/1/model"]
    place.put(*keys, age=DAY)
    assert place.sweep() == NOTHING
    wait_until(lambda: new_id("job")[:14] > keys[1][5:19])  # in the next millisecond
    place.write(new_job, dataset_id=new_id("ds"))
    assert place.sweep() == NOTHING
    assert place.artifacts.list("") == sorted(keys)


@on_sqlite
def test_artifacts_with_another_database_beside_them_are_left_alone(place: Place) -> None:
    key = f"datasets/{new_id('ds')}.parquet"
    place.put(key, age=DAY)
    (place.settings.data_dir / "dropout.db").touch()
    assert place.sweep() == NOTHING
    assert place.artifacts.list("") == [key]


def test_a_sweep_that_fails_is_followed_by_the_next(sqlite_url: str, tmp_path: Path) -> None:
    with closing(Database(sqlite_url)) as database:
        place = Place(database, sqlite_url, tmp_path / "data")
        place.write(new_job)
        place.settings = place.settings.model_copy(update={"sweep_seconds": 0.01})
        key = f"jobs/{new_id('job')}/1/checkpoints/1"
        leads_away = place.settings.artifact_root / "jobs"
        leads_away.parent.mkdir(parents=True)
        leads_away.symlink_to("/")
        with capture_logs() as logs, sweeping(place.settings, database, place.artifacts):
            wait_until(lambda: logs)
            leads_away.unlink()
            place.put(key, age=DAY)
            wait_until(lambda: place.artifacts.list("jobs") == [])
