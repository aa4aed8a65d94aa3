"""The service with its artifacts in a bucket, which comes and goes."""

from pathlib import Path

import pytest

from dropout_core.training.checkpoint import position
from store.artifacts.artifact_store import open_artifacts
from store.settings import Settings
from tests.faults.stand import only_in_full
from tests.support.buckets import new_bucket_url
from tests.support.client import JOB_SECONDS
from tests.support.processes import wait_for_trainer
from tests.support.servers import S3Server
from tests.support.service import embedded
from tests.support.waiting import wait_until
from tests.support.worker_examples import SWIFT, Result

pytestmark = pytest.mark.xdist_group("faults-bucket")


@only_in_full
@pytest.mark.timeout(300)
def test_a_job_with_its_artifacts_in_a_bucket_ends_with_the_same_bits(
    own_s3: S3Server, tmp_path: Path, uninterrupted: Result
) -> None:
    url = new_bucket_url()
    artifacts = open_artifacts(Settings(data_dir=tmp_path / "elsewhere", artifact_url=url))
    with embedded(tmp_path, **SWIFT, artifact_url=url) as service:
        client = service.client

        job = client.submit()
        client.wait_for_epoch(job, 20)
        wait_for_trainer(service.only("worker").pid).kill()
        put_next = wait_until(lambda: artifacts.list(f"jobs/{job}/2/checkpoints"), JOB_SECONDS)
        own_s3.stop()
        assert position(Path(put_next[0]).name) >= (20, 0)
        wait_until(lambda: not client.is_ready(), JOB_SECONDS)
        assert client.job(job)["state"] == "running"
        own_s3.start()
        assert client.result(job) == uninterrupted
        assert [event["type"] for event in client.events(job)].count("requeued") == 1

        assert client.predicts(job)
        model, dataset = client.job(job)["model"], client.job(job)["dataset"]
        scored = client.create(f"/v1/models/{model}/evaluate", json={"dataset": dataset})
        assert scored["num_rows"] == 200
        for path in (f"models/{model}", f"jobs/{job}", f"datasets/{dataset}"):
            client.delete(f"/v1/{path}").raise_for_status()
        wait_until(lambda: not any(job in key or dataset in key for key in artifacts.list("")))
    assert not (tmp_path / "data" / "artifacts").exists()
