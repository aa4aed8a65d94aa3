"""What every artifact store promises."""

import pickle
from hashlib import sha256
from pathlib import Path

import pytest

from store.artifacts.artifact_store import ArtifactStore, discard, open_artifacts
from store.artifacts.local_folder import LocalArtifacts
from store.errors import ArtifactDamaged, StorageUnavailable
from store.settings import Settings
from tests.support.buckets import new_bucket_url, put
from tests.support.servers import S3Server

KEY = "jobs/job_01jx/1/checkpoints/epoch-000012-batch-000007.0123abcd.safetensors"


@pytest.fixture(params=["folder", "bucket"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    """An empty store: the test runs once on each kind."""
    if request.param == "folder":
        return open_artifacts(Settings(data_dir=tmp_path / "data"))
    request.getfixturevalue("s3")
    return open_artifacts(Settings(data_dir=tmp_path / "data", artifact_url=new_bucket_url()))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "upload"
    path.write_bytes(b"weights")
    return path


def test_a_file_that_was_put_can_be_fetched(artifacts: ArtifactStore, source: Path) -> None:
    artifacts.put(KEY, source)
    assert artifacts.fetch(KEY).read_bytes() == b"weights"
    assert not source.exists()


@pytest.mark.parametrize("key", ["datasets/ds_1.parquet", "jobs/1/folds/0", "a b/c%d/é=+#&?.x"])
def test_a_file_keeps_its_name(artifacts: ArtifactStore, source: Path, key: str) -> None:
    artifacts.put(key, source)
    assert artifacts.fetch(key).name == key.rpartition("/")[2]
    assert artifacts.list("") == [key]


def test_files_of_one_folder_are_fetched_to_one_folder(
    artifacts: ArtifactStore, source: Path
) -> None:
    put(artifacts, source, "jobs/1/1/model/a", "jobs/1/1/model/b", "jobs/1/2/model/a")
    first, second, other = map(artifacts.fetch, artifacts.list(""))
    assert first.parent == second.parent != other.parent
    assert other.read_bytes() == b"jobs/1/2/model/a"


@pytest.mark.parametrize("size", [0, 9_000_000], ids=["empty", "of several parts"])
def test_a_file_comes_back_as_it_was(artifacts: ArtifactStore, source: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256)
    source.write_bytes(content)
    artifacts.put(KEY, source)
    assert artifacts.fetch(KEY).read_bytes() == content


def test_a_file_that_is_not_what_its_key_says_is_refused(
    artifacts: ArtifactStore, source: Path
) -> None:
    key = f"datasets/ds_1.{sha256(b'weights').hexdigest()}.parquet"
    artifacts.put(key, source)
    assert artifacts.fetch(key).read_bytes() == b"weights"

    source.write_bytes(b"weight")
    key = key.replace("ds_1", "ds_2")
    artifacts.put(key, source)
    for _ in range(2):
        with pytest.raises(ArtifactDamaged, match=r"ds_2.*is damaged"):
            artifacts.fetch(key)


@pytest.mark.parametrize("content", [b"", b"weight", b"weighty", b"weightr"])
def test_a_file_that_changes_after_a_fetch_is_refused_by_the_next(
    artifacts: ArtifactStore, source: Path, content: bytes
) -> None:
    """In a folder; of a bucket's object only the copy has changed, and it is fetched anew."""
    key = f"datasets/ds_1.{sha256(b'weights').hexdigest()}.parquet"
    artifacts.put(key, source)
    artifacts.fetch(key).write_bytes(content)
    if isinstance(artifacts, LocalArtifacts):
        with pytest.raises(ArtifactDamaged):
            artifacts.fetch(key)
    else:
        assert artifacts.fetch(key).read_bytes() == b"weights"


def test_a_put_that_fails_leaves_nothing(artifacts: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        artifacts.put("jobs/1/weights", tmp_path / "missing")
    assert artifacts.list("") == []
    with pytest.raises(FileNotFoundError):
        artifacts.fetch("jobs/1/weights")


def test_fetching_what_is_no_file_fails(artifacts: ArtifactStore, source: Path) -> None:
    put(artifacts, source, "jobs/1/weights")
    for key in ("jobs/2/weights", "jobs/1"):
        with pytest.raises(FileNotFoundError, match=key):
            artifacts.fetch(key)


def test_a_list_holds_every_key_below_its_prefix(artifacts: ArtifactStore, source: Path) -> None:
    put(artifacts, source, "jobs/1/b", "jobs/1/a/deep", "jobs/10/a", "datasets/1")
    assert artifacts.list("jobs/1") == ["jobs/1/a/deep", "jobs/1/b"]
    assert artifacts.list("") == ["datasets/1", "jobs/1/a/deep", "jobs/1/b", "jobs/10/a"]
    assert artifacts.list("models") == []
    assert artifacts.list("datasets/1") == []


def test_what_was_put_long_ago_is_told_from_what_was_not(
    artifacts: ArtifactStore, source: Path
) -> None:
    put(artifacts, source, "jobs/1/b", "jobs/1/a", "datasets/1")
    assert artifacts.list_older_than("jobs", seconds=0) == ["jobs/1/a", "jobs/1/b"]
    assert artifacts.list_older_than("jobs", seconds=60) == []
    assert artifacts.list_older_than("models", seconds=0) == []


def test_deleting_takes_one_artifact_or_all_below(artifacts: ArtifactStore, source: Path) -> None:
    put(artifacts, source, "jobs/1/a", "jobs/1/b/c", "jobs/1/b/d", "jobs/10")
    deleted = "jobs/1/b/c"
    artifacts.fetch(deleted)
    artifacts.delete("jobs/1/b")
    assert artifacts.list("") == ["jobs/1/a", "jobs/10"]
    with pytest.raises(FileNotFoundError):
        artifacts.fetch(deleted)
    artifacts.delete("jobs/10")
    assert artifacts.list("") == ["jobs/1/a"]


def test_deleting_nothing_is_no_error(artifacts: ArtifactStore, source: Path) -> None:
    put(artifacts, source, "jobs/1/a")
    for _ in range(2):
        artifacts.delete("jobs/2")
    assert artifacts.list("") == ["jobs/1/a"]


@pytest.mark.parametrize("key", ["../secret", "jobs/../../secret", "/etc/passwd"])
def test_a_key_cannot_leave_the_store(
    artifacts: ArtifactStore, source: Path, tmp_path: Path, key: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    for use in (artifacts.fetch, artifacts.delete, artifacts.list):
        with pytest.raises(ValueError, match="leaves its folder"):
            use(key)
    with pytest.raises(ValueError, match="leaves its folder"):
        artifacts.put(key, source)
    assert secret.read_text() == "secret"
    assert source.exists()


def test_a_store_that_works_is_writable_and_shows_no_trace_of_that(
    artifacts: ArtifactStore,
) -> None:
    artifacts.require_writable()
    assert artifacts.list_older_than("", seconds=0) == []
    assert artifacts.list("") == []


def test_another_process_can_be_given_the_store(artifacts: ArtifactStore, source: Path) -> None:
    artifacts.require_writable()
    pickled = pickle.dumps(artifacts)
    assert S3Server.SECRET_KEY.encode() not in pickled
    same = pickle.loads(pickled)
    same.put(KEY, source)
    assert artifacts.fetch(KEY).read_bytes() == b"weights"


def test_without_a_url_artifacts_are_in_the_data_directory(tmp_path: Path, source: Path) -> None:
    artifacts = open_artifacts(Settings(data_dir=tmp_path))
    put(artifacts, source, KEY)
    assert (tmp_path / "artifacts" / KEY).is_file()


def test_what_cannot_be_discarded_is_left(tmp_path: Path, source: Path) -> None:
    class Away(LocalArtifacts):
        def delete(self, prefix: str) -> None:
            raise StorageUnavailable("away")

    artifacts = Away(tmp_path)
    put(artifacts, source, "jobs/1/a")
    discard(artifacts, "jobs/1")
    assert artifacts.list("") == ["jobs/1/a"]
