"""The API while its artifact storage is away, and what is left when it is back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.main import cli
from app.main import create_app
from store.artifacts.artifact_store import open_artifacts
from store.settings import Settings
from tests.support.buckets import new_bucket_url
from tests.support.client import upload
from tests.support.in_process import TestClient
from tests.support.problems import assert_problem
from tests.support.servers import S3Server
from tests.support.service import SETTINGS

TABLE = b"a,label\n1,x\n2,y\n3,x\n4,y\n"


@pytest.fixture
def settings(own_s3: S3Server, sqlite_url: str, tmp_path: Path) -> Settings:
    """Artifacts in a bucket that may go away."""
    return Settings(
        data_dir=tmp_path / "data",
        database_url=sqlite_url,
        artifact_url=new_bucket_url(),
        **SETTINGS,
    )


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield client


def test_storage_that_is_away_is_told_and_asked_again(own_s3: S3Server, client: TestClient) -> None:
    own_s3.stop()
    ready = client.get("/readyz")
    refused = client.post("/v1/datasets", files={"file": ("table.csv", TABLE)})

    assert (ready.status_code, ready.json()["checks"]["storage"]) == (503, "failed")
    assert_problem(refused, 503, "storage_unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert client.get("/v1/datasets").json()["data"] == []
    own_s3.start()
    assert client.get("/readyz").json()["checks"]["storage"] == "ok"
    upload(client, TABLE)


def test_a_dataset_is_deleted_while_the_storage_is_away(
    own_s3: S3Server, client: TestClient, settings: Settings
) -> None:
    dataset = upload(client, TABLE)["id"]
    own_s3.stop()
    assert client.delete(f"/v1/datasets/{dataset}").status_code == 204
    assert client.get(f"/v1/datasets/{dataset}").status_code == 404
    own_s3.start()
    assert len(open_artifacts(settings).list("datasets")) == 1  # for the sweep


@pytest.mark.parametrize("url", ["gs://bucket/prefix", "s3://key:secret@bucket", "/a/folder"])
def test_an_url_that_is_of_no_storage_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str
) -> None:
    monkeypatch.setenv("DROPOUT_ARTIFACT_URL", url)
    answer = CliRunner().invoke(cli, ["serve", "--data-dir", str(tmp_path)])
    assert (answer.exit_code, answer.stdout) == (1, "")
    (line,) = answer.stderr.splitlines()
    assert line.startswith("error: DROPOUT_ARTIFACT_URL: ")
    assert "s3://bucket/prefix" in line
    assert url not in line
