"""A backup holds all that counts, and a restore takes all of it or nothing."""

import hashlib
import io
import json
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from store import datasets, events, jobs, models
from store.access import idempotency, keys
from store.access.keys import DEFAULT_TENANT, Scope
from store.artifacts import local_folder
from store.artifacts.local_folder import LocalArtifacts
from store.database.engine import Database
from store.errors import ArtifactDamaged, DatasetNotFound, ModelNotFound
from store.ids import new_id
from store.jobs import Claim
from store.models import WEIGHTS
from store.operations.backup import Backup, CannotBackUp, backup
from store.operations.lifetime import AlreadyRunning, only_one
from store.operations.restore import LOCKS, CannotRestore, restore
from store.settings import Settings
from tests.support.concurrency import at_once
from tests.support.store_examples import TRAINED, claim, new_claim, new_job, spec
from tests.support.stored_databases import load


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Place:
    """A data directory with a service's database and artifacts."""

    def __init__(self, data_dir: Path) -> None:
        self.settings = Settings(data_dir=data_dir)
        self.artifacts = LocalArtifacts(self.settings.artifact_root)
        self.database = Database(self.settings.database)

    def write(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        with self.database.write() as transaction:
            return function(transaction, *args, **options)

    def read(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        with self.database.read() as transaction:
            return function(transaction, *args, **options)

    def put(self, key: str, content: str | None = None) -> None:
        source = self.settings.data_dir / new_id("source")
        source.write_text(key if content is None else content)
        self.artifacts.put(key, source)

    def contents(self) -> dict[str, bytes]:
        return {key: self.artifacts.fetch(key).read_bytes() for key in self.artifacts.list("")}

    def new_dataset(self) -> datasets.Dataset:
        dataset_id = new_id("ds")
        key = f"datasets/{dataset_id}.{sha256(dataset_id)}.parquet"
        self.put(key, dataset_id)
        facts = {"format": "csv", "sha256": "0" * 64, "size_bytes": 1, "num_rows": 1}
        named = {"id": dataset_id, "name": "flowers", "artifact": key}
        made: datasets.Dataset = self.write(datasets.create, columns=[], **facts, **named)
        return made

    def delete_dataset(self, dataset_id: str) -> None:
        """As the API does."""
        self.artifacts.delete(
            self.write(datasets.remove, dataset_id, tenant=DEFAULT_TENANT).artifact
        )

    def new_model(self) -> str:
        mine = self.write(new_claim)
        artifact = f"jobs/{mine.job_id}/{mine.attempt}/model"
        manifest = {**TRAINED.manifest, "weights_sha256": sha256("weights")}
        self.put(f"{artifact}/model.json", json.dumps(manifest))
        self.put(f"{artifact}/model.safetensors", "weights")
        changed = {"artifact": artifact, "manifest": manifest}
        trained = models.TrainedModel(**{**vars(TRAINED), **changed})
        self.write(jobs.succeed, mine, reason="completed", trained=trained)
        [model_id] = self.read(models.of_jobs, [mine.job_id]).values()
        return str(model_id)

    def backup(self, target: Path) -> Backup:
        return backup(self.settings, self.artifacts, target)


@pytest.fixture
def place(tmp_path: Path, sqlite_template: Path) -> Iterator[Place]:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "dropout.db").write_bytes(sqlite_template.read_bytes())
    place = Place(data_dir)
    yield place
    place.database.close()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "backup.tar"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "elsewhere")
    place.settings.data_dir.rmdir()
    yield place
    place.database.close()


@pytest.mark.parametrize("name", ["backup.tar", "backup.tar.gz", "backup.tgz"])
def test_what_was_backed_up_is_there_again(place: Place, elsewhere: Place, name: str) -> None:
    dataset, model_id = place.new_dataset(), place.new_model()
    target = place.settings.data_dir.parent / name
    made = place.backup(target)
    assert (made.num_datasets, made.num_models, made.lost) == (1, 1, [])
    assert made.size_bytes == target.stat().st_size

    restored = restore(elsewhere.settings, target)
    assert restored.num_artifacts == 3
    assert elsewhere.read(datasets.get, dataset.id, tenant=DEFAULT_TENANT) == dataset
    model = elsewhere.read(models.get, model_id, tenant=DEFAULT_TENANT)
    assert model == place.read(models.get, model_id, tenant=DEFAULT_TENANT)
    assert elsewhere.contents() == place.contents()
    assert {path.name for path in elsewhere.settings.data_dir.iterdir()} <= {
        *("artifacts", "dropout.db", "dropout.db-wal", "dropout.db-shm"),
        *LOCKS,
    }
    assert [path.name for path in target.parent.glob(".*")] == []


def test_only_what_counts_is_in_it(place: Place, target: Path) -> None:
    """No table without a dataset, and nothing of jobs that are over but their models."""
    dataset, model_id = place.new_dataset(), place.new_model()
    artifact = place.read(models.get, model_id, tenant=DEFAULT_TENANT).artifact
    unfinished = place.write(new_job).id
    for key in (f"datasets/{new_id('ds')}.parquet", f"{Path(artifact).parent}/checkpoints/1"):
        place.put(key)
    place.put(f"jobs/{unfinished}/1/checkpoints/1")
    assert place.backup(target).num_unfinished_jobs == 1
    with tarfile.open(target) as tar:
        assert set(tar.getnames()) == {
            *("manifest.json", "dropout.db", f"artifacts/{dataset.artifact}"),
            *(f"artifacts/{artifact}/{name}" for name in ("model.json", "model.safetensors")),
            f"artifacts/jobs/{unfinished}/1/checkpoints/1",
        }


def test_jobs_that_ran_wait_in_the_queue_uncharged(
    place: Place, elsewhere: Place, target: Path
) -> None:
    queued, running, cancelling = place.write(new_job), *(place.write(new_claim) for _ in range(2))
    place.write(jobs.cancel, cancelling.job_id, tenant=DEFAULT_TENANT)
    place.backup(target)

    assert restore(elsewhere.settings, target).num_resumed == 1
    assert elsewhere.read(jobs.claimable, limit=9) == [queued.id, running.job_id]
    assert elsewhere.read(jobs.get, cancelling.job_id, tenant=DEFAULT_TENANT).state == "cancelled"
    job = elsewhere.write(claim, running.job_id)
    assert (job.attempt, job.failures) == (2, 0)
    happened = elsewhere.read(events.page, running.job_id, after=0, limit=9)
    assert [event.type for event in happened] == ["queued", "running", "requeued", "running"]


def test_a_request_that_was_in_flight_may_be_sent_again(
    place: Place, elsewhere: Place, target: Path
) -> None:
    place.write(idempotency.reserve, "key", request_sha256="same", tenant=DEFAULT_TENANT)
    place.backup(target)
    restore(elsewhere.settings, target)
    assert (
        elsewhere.write(idempotency.reserve, "key", request_sha256="same", tenant=DEFAULT_TENANT)
        is None
    )


class Interrupted(LocalArtifacts):
    """Artifacts of a service where something happens before the first of them is copied."""

    def __init__(self, root: Path, what_happens: Callable[[], None]) -> None:
        super().__init__(root)
        self._what_happens: Callable[[], None] | None = what_happens

    def fetch(self, key: str) -> Path:
        if self._what_happens is not None:
            happens, self._what_happens = self._what_happens, None
            happens()
        return super().fetch(key)


def test_what_is_deleted_during_a_backup_was_never_there(
    place: Place, elsewhere: Place, target: Path
) -> None:
    first, second = place.new_dataset(), place.new_dataset()
    model_id = place.new_model()

    def delete() -> None:
        place.delete_dataset(first.id)
        model = place.write(models.remove, model_id, tenant=DEFAULT_TENANT)
        place.artifacts.delete(f"{model.artifact}/model.json")  # and the other file later

    artifacts = Interrupted(place.settings.artifact_root, delete)
    made = backup(place.settings, artifacts, target)
    assert (made.num_datasets, made.num_models, made.lost) == (1, 0, [])

    restore(elsewhere.settings, target)
    assert elsewhere.read(datasets.get, second.id, tenant=DEFAULT_TENANT) == second
    with pytest.raises(DatasetNotFound):
        elsewhere.read(datasets.get, first.id, tenant=DEFAULT_TENANT)
    with pytest.raises(ModelNotFound):
        elsewhere.read(models.get, model_id, tenant=DEFAULT_TENANT)


def test_a_job_that_ends_during_a_backup_is_in_it_unfinished(
    place: Place, elsewhere: Place, target: Path
) -> None:
    place.new_dataset()
    mine = place.write(new_claim)
    checkpoint = f"jobs/{mine.job_id}/1/checkpoints/1"
    place.put(checkpoint)

    def end() -> None:
        place.write(jobs.fail, mine, reason="diverged", detail="")
        place.artifacts.delete(checkpoint)

    made = backup(place.settings, Interrupted(place.settings.artifact_root, end), target)
    assert (made.num_unfinished_jobs, made.lost) == (1, [])
    restore(elsewhere.settings, target)
    assert elsewhere.read(jobs.claimable, limit=9) == [mine.job_id]


def test_every_row_of_a_backup_taken_amid_uploads_and_deletions_has_its_file(
    place: Place, elsewhere: Place, target: Path
) -> None:
    done = Event()

    def use() -> int:
        num_uploads = 0
        while not done.is_set() or num_uploads < 9:
            kept, passing = place.new_dataset(), place.new_dataset()
            place.delete_dataset(passing.id)
            num_uploads += bool(kept)
        return num_uploads

    def back_up() -> Backup:
        try:
            return [place.backup(target) for _ in range(5)][-1]
        finally:
            done.set()

    num_uploads, made = at_once(use, back_up)
    assert num_uploads >= 9
    assert made.lost == []
    restore(elsewhere.settings, target)
    for dataset in elsewhere.read(datasets.page, tenant=DEFAULT_TENANT, limit=10_000, after=None):
        assert elsewhere.artifacts.fetch(dataset.artifact).read_text() == dataset.id


def test_an_artifact_that_was_lost_before_is_told(
    place: Place, elsewhere: Place, target: Path
) -> None:
    lost, kept = place.new_dataset(), place.new_dataset()
    place.artifacts.delete(lost.artifact)
    assert place.backup(target).lost == [lost.artifact]
    assert restore(elsewhere.settings, target).lost == [lost.artifact]
    assert elsewhere.artifacts.list("") == [kept.artifact]


@pytest.mark.parametrize("damage", [b"", b"x", None], ids=["truncated", "changed", "flipped"])
def test_a_damaged_artifact_is_named_and_left_out(
    place: Place, elsewhere: Place, target: Path, damage: bytes | None
) -> None:
    dataset, model_id = place.new_dataset(), place.new_model()
    kept = place.new_dataset()
    artifact = place.read(models.get, model_id, tenant=DEFAULT_TENANT).artifact
    damaged = [dataset.artifact, *(f"{artifact}/{name}" for name in (models.MANIFEST, WEIGHTS))]
    for key in damaged:
        path = place.settings.artifact_root / key
        content = path.read_bytes()
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:] if damage is None else damage)
    made = place.backup(target)
    assert (made.damaged, made.lost) == (damaged, [])
    restored = restore(elsewhere.settings, target)
    assert (restored.lost, restored.damaged) == (damaged, [])
    assert elsewhere.artifacts.list("") == [kept.artifact]


def test_a_backup_that_holds_a_damaged_artifact_is_restored_and_tells(
    place: Place, elsewhere: Place, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Releases that did not look at checksums made such backups, and they may be all there is."""
    dataset, model_id = place.new_dataset(), place.new_model()
    artifact = place.read(models.get, model_id, tenant=DEFAULT_TENANT).artifact
    damaged = [dataset.artifact, f"{artifact}/{WEIGHTS}"]
    for key in damaged:
        (place.settings.artifact_root / key).write_text("damaged")
    with monkeypatch.context() as before:
        before.setattr(local_folder, "checked", lambda path, _key: path)
        before.setattr(models, "damaged_files", lambda *_: [])
        assert place.backup(target).damaged == []
    assert restore(elsewhere.settings, target).damaged == damaged
    with pytest.raises(ArtifactDamaged):
        elsewhere.artifacts.fetch(dataset.artifact)


def test_a_backup_replaces_the_one_before_as_a_whole(place: Place, target: Path) -> None:
    target.write_text("the one before")
    place.settings.artifact_root.mkdir()
    place.new_dataset()
    cut_short = Interrupted(place.settings.artifact_root, _run_out_of_disk)
    with pytest.raises(OSError, match="No space"):
        backup(place.settings, cut_short, target)
    assert target.read_text() == "the one before"
    place.backup(target)
    assert tarfile.is_tarfile(target)
    assert sorted(path.name for path in target.parent.iterdir()) == ["backup.tar", "data"]


def _run_out_of_disk() -> None:
    raise OSError(28, "No space left on device")


def test_postgresql_is_for_pg_dump(tmp_path: Path, target: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", database_url="postgresql://db/x")
    with pytest.raises(CannotBackUp, match=r"pg_dump.*artifacts"):
        backup(settings, LocalArtifacts(settings.artifact_root), target)
    target.touch()
    with pytest.raises(CannotRestore, match=r"artifacts.*pg_restore"):
        restore(settings, target)


def test_a_bucket_is_for_whoever_keeps_it(place: Place, target: Path) -> None:
    settings = Settings(data_dir=place.settings.data_dir, artifact_url="s3://bucket/prefix")
    with pytest.raises(CannotBackUp, match=r"s3://bucket/prefix.*dropout\.db"):
        backup(settings, place.artifacts, target)
    place.backup(target)
    elsewhere = settings.model_copy(update={"data_dir": target.parent / "elsewhere"})
    with pytest.raises(CannotRestore, match="s3://bucket/prefix"):
        restore(elsewhere, target)
    assert not elsewhere.data_dir.exists()


@pytest.mark.parametrize("content", [None, b"no database at all", b""])
def test_what_is_no_service_cannot_be_backed_up(
    tmp_path: Path, target: Path, content: bytes | None
) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    settings.data_dir.mkdir()
    if content is not None:
        (settings.data_dir / "dropout.db").write_bytes(content)
    with pytest.raises(CannotBackUp, match=r"dropout\.db"):
        backup(settings, LocalArtifacts(settings.artifact_root), target)
    assert not target.exists()


def test_keys_and_tenants_come_back(place: Place, elsewhere: Place, target: Path) -> None:
    key, token = place.write(keys.create, tenant="garden", name="gate", scopes=[Scope.READ])
    job = place.write(jobs.create, spec(), queue="cpu", tenant="garden")
    place.backup(target)
    restore(elsewhere.settings, target)
    assert elsewhere.read(keys.find, token) == key
    assert elsewhere.read(jobs.get, job.id, tenant="garden") == job


def test_the_name_of_a_backup_says_what_it_is(place: Place, tmp_path: Path) -> None:
    with pytest.raises(CannotBackUp, match=r"\.tar\.gz"):
        place.backup(tmp_path / "backup.zip")


def test_a_backup_of_the_first_release_becomes_one_of_today(
    tmp_path: Path, elsewhere: Place, target: Path
) -> None:
    old = Settings(data_dir=tmp_path / "old")
    old.data_dir.mkdir()
    load("0001", old.database)
    artifacts = LocalArtifacts(old.artifact_root)
    assert len(backup(old, artifacts, target).lost) == 2
    restore(elsewhere.settings, target)
    [dataset] = elsewhere.read(datasets.page, tenant="default", limit=9, after=None)
    [model] = elsewhere.read(models.page, tenant="default", limit=9, after=None)
    assert dataset.options == {}
    assert model.manifest["targets"] == ["label"]


def assert_refused(elsewhere: Place, target: Path, words: str) -> None:
    """Nothing is left but locks that nobody holds, and a later restore is welcome."""
    with pytest.raises(CannotRestore, match=words):
        restore(elsewhere.settings, target)
    folder = elsewhere.settings.data_dir
    assert not folder.exists() or {path.name for path in folder.iterdir()} <= set(LOCKS)


def rewrite(target: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """Change the members of a backup, in place."""
    with tarfile.open(target) as tar:
        members = {name: _content(tar, name) for name in tar.getnames()}
    change(members)
    with tarfile.open(target, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def _content(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


def test_one_changed_byte_of_any_member_is_found(
    place: Place, elsewhere: Place, target: Path
) -> None:
    place.new_dataset()
    place.backup(target)
    whole = target.read_bytes()
    with tarfile.open(target) as tar:
        members = tar.getmembers()
    for member in members:
        damaged = bytearray(whole)
        damaged[member.offset_data + member.size // 2] ^= 1
        target.write_bytes(damaged)
        assert_refused(elsewhere, target, "damaged|not a complete backup|newer")
    target.write_bytes(whole)
    restore(elsewhere.settings, target)


@pytest.mark.parametrize("name", ["backup.tar", "backup.tar.gz"])
def test_half_a_backup_is_refused(place: Place, elsewhere: Place, name: str) -> None:
    place.new_dataset()
    target = place.settings.data_dir.parent / name
    place.backup(target)
    whole = target.read_bytes()
    for kept in (0, 100, len(whole) // 2, len(whole) * 9 // 10):
        target.write_bytes(whole[:kept])
        assert_refused(elsewhere, target, "not a complete backup|damaged")


@pytest.mark.parametrize("member", ["manifest.json", "dropout.db"])
def test_a_backup_without_its_main_parts_is_refused(
    place: Place, elsewhere: Place, target: Path, member: str
) -> None:
    place.backup(target)

    def remove(members: dict[str, bytes]) -> None:
        del members[member]

    rewrite(target, remove)
    assert_refused(elsewhere, target, "no manifest or no database")


@pytest.mark.parametrize(
    "name", ["../escaped", "/tmp/escaped", "artifacts/../escaped", "artifacts/../../escaped", "x"]
)
def test_a_member_that_leads_elsewhere_is_refused(
    place: Place, elsewhere: Place, target: Path, name: str
) -> None:
    place.backup(target)
    digest = hashlib.sha256(b"!").hexdigest()

    def add(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        manifest["sha256"][name] = digest
        members["manifest.json"] = json.dumps(manifest).encode()
        members[name] = b"!"

    rewrite(target, add)
    assert_refused(elsewhere, target, "not a complete backup")
    assert not list(target.parent.rglob("escaped"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_member_that_is_no_file_is_refused(
    place: Place, elsewhere: Place, target: Path, kind: bytes
) -> None:
    place.backup(target)
    with tarfile.open(target, "a") as tar:
        member = tarfile.TarInfo("artifacts/link")
        member.type = kind
        member.linkname = "dropout.db"
        tar.addfile(member)
    assert_refused(elsewhere, target, "not a complete backup")


def test_a_member_that_comes_twice_is_refused(place: Place, elsewhere: Place, target: Path) -> None:
    place.backup(target)
    with tarfile.open(target, "a") as tar:
        tar.addfile(tarfile.TarInfo("dropout.db"), io.BytesIO())
    assert_refused(elsewhere, target, "not a complete backup")


def test_a_database_of_a_newer_release_is_refused(
    place: Place, elsewhere: Place, target: Path
) -> None:
    with closing(sqlite3.connect(place.settings.data_dir / "dropout.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    place.backup(target)
    assert_refused(elsewhere, target, "newer release.*9999")


def test_only_an_empty_folder_is_filled(place: Place, elsewhere: Place, target: Path) -> None:
    place.backup(target)
    folder = elsewhere.settings.data_dir
    folder.mkdir()
    (folder / "letter").touch()
    with pytest.raises(CannotRestore, match=r"not empty.*letter"):
        restore(elsewhere.settings, target)
    assert [path.name for path in folder.iterdir()] == ["letter"]

    (folder / "letter").unlink()
    restore(elsewhere.settings, target)
    with pytest.raises(CannotRestore, match="not empty"):
        restore(elsewhere.settings, target)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_folder_that_a_service_holds_is_left_to_it(
    place: Place, elsewhere: Place, target: Path, lock: str
) -> None:
    place.backup(target)
    with only_one(elsewhere.settings.data_dir / lock), pytest.raises(AlreadyRunning):
        restore(elsewhere.settings, target)
    assert {path.name for path in elsewhere.settings.data_dir.iterdir()} <= set(LOCKS)


def test_a_database_that_goes_elsewhere_is_refused(place: Place, target: Path) -> None:
    place.backup(target)
    settings = Settings(
        data_dir=target.parent / "new", database_url=f"sqlite:///{target.parent / 'other.db'}"
    )
    with pytest.raises(CannotRestore, match="DROPOUT_DATABASE_URL"):
        restore(settings, target)


def test_a_restored_claim_is_not_the_old_workers(
    place: Place, elsewhere: Place, target: Path
) -> None:
    """Whoever held it writes to the old database; in the new one its attempt is over."""
    mine: Claim = place.write(new_claim)
    place.backup(target)
    restore(elsewhere.settings, target)
    assert elsewhere.read(jobs.get, mine.job_id, tenant=DEFAULT_TENANT).owner is None
    place.write(jobs.renew, mine, lease_seconds=60)
