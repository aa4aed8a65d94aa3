"""What is particular to artifacts in a bucket, against a real server that speaks S3."""

import os
import subprocess
import time
import traceback
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from store.artifacts.artifact_store import ArtifactStore, open_artifacts
from store.artifacts.bucket import PART_BYTES, Bucket
from store.database.engine import Database
from store.errors import StorageUnavailable
from store.ids import new_id
from store.operations.retention import sweep
from store.settings import Settings
from tests.support.buckets import new_bucket, new_bucket_url, put
from tests.support.concurrency import at_once
from tests.support.ports import free_port
from tests.support.processes import python
from tests.support.servers import S3Server
from tests.support.store_examples import new_claim, new_dataset
from tests.support.waiting import wait_until

KEY = "datasets/ds_1.parquet"
USES = ("put", "fetch", "list_older_than", "list", "delete", "require_writable")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "upload"
    path.write_bytes(b"weights")
    return path


def use(artifacts: ArtifactStore, name: str, source: Path) -> object:
    calls = {
        "put": lambda: artifacts.put(KEY, source),
        "fetch": lambda: artifacts.fetch(KEY),
        "list_older_than": lambda: artifacts.list_older_than("datasets", seconds=0),
        "list": lambda: artifacts.list("datasets"),
        "delete": lambda: artifacts.delete("datasets"),
        "require_writable": artifacts.require_writable,
    }
    return calls[name]()


@pytest.mark.parametrize("name", USES)
def test_a_server_that_is_not_there_is_storage_that_does_not_answer(
    s3: S3Server, tmp_path: Path, source: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(StorageUnavailable, match=r"'artifacts': .*error sending request"):
        use(new_bucket(tmp_path / "cache"), name, source)
    assert source.exists()


@pytest.mark.parametrize("name", USES)
def test_a_wrong_key_is_storage_that_refuses(
    s3: S3Server, tmp_path: Path, source: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
    with pytest.raises(StorageUnavailable, match="403 Forbidden SignatureDoesNotMatch"):
        use(new_bucket(tmp_path / "cache"), name, source)
    assert source.exists()


@pytest.mark.parametrize("name", USES)
def test_a_bucket_that_does_not_exist_is_no_bucket_without_the_artifact(
    s3: S3Server, tmp_path: Path, source: Path, name: str
) -> None:
    with pytest.raises(StorageUnavailable, match="'no-bucket': 404 Not Found NoSuchBucket"):
        use(new_bucket(tmp_path / "cache", url="s3://no-bucket/prefix"), name, source)
    assert source.exists()


def test_without_http_in_the_endpoint_nothing_is_sent_in_the_clear(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url.replace("http://", "https://"))
    with pytest.raises(StorageUnavailable):
        new_bucket(tmp_path / "cache").require_writable()


def test_no_secret_is_told(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {"AWS_SECRET_ACCESS_KEY": "the-other-secret", "AWS_SESSION_TOKEN": "the-token"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    artifacts = new_bucket(tmp_path / "cache")
    with pytest.raises(StorageUnavailable) as raised:
        artifacts.require_writable()
    told = "".join(traceback.format_exception(raised.value)) + f"{artifacts!r} {vars(artifacts)}"
    # An answer's body may repeat the signed request, with its token.
    unwanted = (*secrets.values(), S3Server.ACCESS_KEY, "<Code>")
    assert not [value for value in unwanted if value in told]


def test_prefixes_of_one_bucket_do_not_see_each_other(
    s3: S3Server, tmp_path: Path, source: Path
) -> None:
    url = new_bucket_url()
    outer, one, other = (
        new_bucket(tmp_path / f"cache{end}", url=url + end) for end in ("", "/a", "/ab")
    )
    put(one, source, "jobs/1")
    assert other.list("") == []
    assert outer.list("") == ["a/jobs/1"]
    other.delete("jobs")
    assert one.list("") == ["jobs/1"]


def test_many_artifacts_are_listed_and_deleted(own_s3: S3Server, tmp_path: Path) -> None:
    artifacts = new_bucket(tmp_path / "cache", url=f"s3://{S3Server.BUCKET}")
    folder = own_s3.folder / "buckets" / S3Server.BUCKET / "jobs"
    folder.mkdir()
    for number in range(1001):  # a page of a list holds a thousand, and so does a bulk delete
        (folder / str(number)).touch()
    assert len(artifacts.list("jobs")) == 1001
    artifacts.delete("jobs")
    assert artifacts.list("") == []


def test_a_put_that_is_cut_short_is_never_seen(own_s3: S3Server, tmp_path: Path) -> None:
    url = new_bucket_url()
    source = tmp_path / "large"
    with source.open("wb") as file:
        file.truncate(32 * PART_BYTES)
    server = psutil.Process(own_s3.process_id)
    received = server.io_counters().read_chars
    script = f"""if True:
        from pathlib import Path
        from tests.support.buckets import new_bucket
        new_bucket(Path({str(tmp_path / "cache")!r}), url={url!r}).put("big", Path({str(source)!r}))
    """
    with subprocess.Popen(python("-c", script)) as putting:
        wait_until(lambda: server.io_counters().read_chars - received > PART_BYTES, 60)
        server.suspend()  # so that the rest does not come before the end
        putting.kill()
    server.resume()
    artifacts = new_bucket(tmp_path / "cache", url=url)
    assert artifacts.list("") == []
    with pytest.raises(FileNotFoundError):
        artifacts.fetch("big")
    assert source.exists()


def test_what_was_fetched_is_there_while_the_bucket_is_not(
    own_s3: S3Server, tmp_path: Path, source: Path
) -> None:
    artifacts = new_bucket(tmp_path / "cache")
    artifacts.put(KEY, source)
    artifacts.fetch(KEY)
    own_s3.stop()
    assert artifacts.fetch(KEY).read_bytes() == b"weights"


def test_an_artifact_can_be_fetched_by_many_at_once(
    s3: S3Server, tmp_path: Path, source: Path
) -> None:
    content = os.urandom(PART_BYTES + 1)
    source.write_bytes(content)
    url = new_bucket_url()
    new_bucket(tmp_path / "cache", url=url).put(KEY, source)

    def fetch() -> bytes:  # as another process does, which shares the folder alone
        return new_bucket(tmp_path / "cache", url=url).fetch(KEY).read_bytes()

    assert at_once(fetch, fetch, fetch) == [content] * 3
    assert len([*(tmp_path / "cache").rglob("*.*")]) == 1


def test_a_bucket_that_comes_back_is_used_again(
    own_s3: S3Server, tmp_path: Path, source: Path
) -> None:
    artifacts = new_bucket(tmp_path / "cache")
    own_s3.stop()
    with pytest.raises(StorageUnavailable):
        artifacts.put(KEY, source)
    own_s3.start()
    artifacts.put(KEY, source)
    assert artifacts.list("") == [KEY]


def test_a_moment_without_the_bucket_is_not_noticed(
    own_s3: S3Server, tmp_path: Path, source: Path
) -> None:
    artifacts = new_bucket(tmp_path / "cache")
    own_s3.stop()

    def put_meanwhile() -> None:
        artifacts.put(KEY, source)

    at_once(put_meanwhile, own_s3.start)
    assert artifacts.list("") == [KEY]


def test_the_bucket_is_loaded_only_where_there_is_one() -> None:
    modules = "store.artifacts.artifact_store, worker.supervisor"
    script = f"import sys, {modules}; print('obstore' in sys.modules)"
    assert subprocess.check_output(python("-c", script), text=True) == "False\n"


def test_the_clock_is_the_buckets(
    s3: S3Server, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts: Bucket = new_bucket(tmp_path / "cache")
    put(artifacts, source, KEY)
    then = time.time()
    monkeypatch.setattr(time, "time", lambda: then + 3600)
    assert artifacts.list_older_than("datasets", seconds=60) == []


def test_a_sweep_deletes_what_no_row_needs_from_the_bucket_too(
    s3: S3Server, sqlite_url: str, tmp_path: Path, source: Path
) -> None:
    settings = Settings(
        data_dir=tmp_path / "data",
        database_url=sqlite_url,
        artifact_url=new_bucket_url(),
        renew_seconds=0.1,
        fence_seconds=0.2,
        lease_seconds=0.3,
    )
    settings.data_dir.mkdir()
    (settings.data_dir / "dropout.db").touch()  # nothing of the bucket belongs to it
    artifacts = open_artifacts(settings)
    with closing(Database(sqlite_url)) as database:
        with database.write() as transaction:
            needed = new_dataset(transaction).artifact
            running = new_claim(transaction).job_id
        kept, left_over = f"jobs/{running}/1/checkpoints/1", f"jobs/{new_id('job')}/1/model/a"
        put(artifacts, source, needed, kept, left_over)

        wait_until(lambda: sweep(settings, database, artifacts).num_artifacts == 1)
    assert artifacts.list("") == [needed, kept]
