"""What is particular to artifacts as files."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from store.artifacts.local_folder import LocalArtifacts
from tests.support.buckets import put
from tests.support.concurrency import at_once


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture
def artifacts(root: Path) -> LocalArtifacts:
    return LocalArtifacts(root)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "upload"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system, where there is one."""
    in_memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=in_memory if os.access(in_memory, os.W_OK) else None) as f:
        yield Path(f)


def test_a_file_of_another_file_system_can_be_put(
    artifacts: LocalArtifacts, elsewhere: Path
) -> None:
    source = elsewhere / "upload"
    source.write_bytes(b"weights")
    artifacts.put("jobs/1/1/weights", source)
    assert artifacts.fetch("jobs/1/1/weights").read_bytes() == b"weights"
    assert not source.exists()


def test_a_key_holds_a_whole_file_at_every_moment(
    artifacts: LocalArtifacts, elsewhere: Path
) -> None:
    size = 2**20
    done = Event()

    def write() -> None:
        try:
            for value in range(30):
                source = elsewhere / "upload"
                source.write_bytes(bytes([value]) * size)
                artifacts.put("key", source)
        finally:
            done.set()

    def read() -> int:
        num_read = 0
        while not done.is_set() or num_read == 0:
            try:
                content = artifacts.fetch("key").read_bytes()
            except FileNotFoundError:
                continue
            assert content == content[:1] * size
            num_read += 1
        return num_read

    written, num_read = at_once(write, read)
    assert written is None
    assert num_read > 0


def test_a_list_leaves_out_what_is_not_whole_yet(
    artifacts: LocalArtifacts, source: Path, root: Path
) -> None:
    put(artifacts, source, "jobs/1/a")
    (root / "jobs/1/.b.part").touch()
    assert artifacts.list("jobs") == ["jobs/1/a"]


def test_keys_are_relative_to_a_relative_root_too(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    artifacts = LocalArtifacts(Path("data"))
    put(artifacts, source, "jobs/1")
    assert artifacts.list("jobs") == ["jobs/1"]


def test_keys_are_relative_to_a_linked_root_too(source: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    artifacts = LocalArtifacts(tmp_path / "link")
    put(artifacts, source, "jobs/1")
    assert artifacts.list("") == ["jobs/1"]


def test_a_key_cannot_leave_the_root_through_a_link(
    artifacts: LocalArtifacts, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").touch()
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="leaves its folder"):
        artifacts.fetch("link/secret")


def test_a_root_that_can_be_written_is_told_from_one_that_cannot(
    artifacts: LocalArtifacts, root: Path, source: Path
) -> None:
    artifacts.require_writable()
    assert list(root.iterdir()) == []
    with pytest.raises(OSError, match="upload"):
        LocalArtifacts(source).require_writable()
