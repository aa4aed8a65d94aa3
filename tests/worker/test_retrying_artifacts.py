from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from store.artifacts.local_folder import LocalArtifacts
from store.errors import StorageUnavailable
from tests.support.buckets import new_bucket
from tests.support.concurrency import at_once
from tests.support.ports import free_port
from tests.support.servers import S3Server
from tests.support.trainer_process import assignment, training
from tests.support.waiting import wait_until
from worker.messages import Failed
from worker.retrying_artifacts import RetryingArtifacts


@pytest.fixture
def nowhere(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """An S3 that does not answer."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")


def test_a_trainer_waits_for_the_storage_to_come_back(own_s3: S3Server, tmp_path: Path) -> None:
    source = tmp_path / "weights"
    source.touch()
    artifacts = RetryingArtifacts(new_bucket(tmp_path / "cache"))
    own_s3.stop()

    def put() -> None:
        artifacts.put("jobs/1/weights", source)

    with capture_logs() as logs:

        def come_back() -> None:
            wait_until(lambda: logs)
            own_s3.start()

        assert at_once(put, come_back) == [None, None]
    assert artifacts.list("jobs") == ["jobs/1/weights"]


@pytest.mark.usefixtures("nowhere")
def test_its_patience_has_an_end(tmp_path: Path) -> None:
    artifacts = RetryingArtifacts(new_bucket(tmp_path / "cache"), timeout_seconds=0.01)
    with pytest.raises(StorageUnavailable):
        artifacts.list("jobs")


def test_what_is_not_there_is_not_waited_for(s3: S3Server, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        RetryingArtifacts(new_bucket(tmp_path / "cache")).fetch("jobs/1/weights")


class Away(LocalArtifacts):
    """Artifacts that a trainer does not get, from a place that is not the job's owner's to know."""

    def fetch(self, key: str) -> Path:
        raise StorageUnavailable("bucket 'private': 403 Forbidden")


def test_a_trainer_whose_storage_stays_away_is_tried_again(tmp_path: Path) -> None:
    given = replace(assignment(tmp_path), artifacts=Away(tmp_path))
    with training(given) as running:
        failed = running.last()
    assert failed == Failed("worker_lost", "the artifact storage did not answer", retryable=True)
