"""`backup` and `restore` as their users call them."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from app.cli.main import cli
from store.settings import PREFIX, Settings
from tests.support import tables
from tests.support.client import finished, submit, upload
from tests.support.service import SETTINGS, Service, embedded


@pytest.fixture(autouse=True)
def _no_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{PREFIX}{name}".upper(), raising=False)


def done(command: str, file: Path, data_dir: Path) -> str:
    """What it says of its success."""
    answer = CliRunner().invoke(cli, [command, str(file), "--data-dir", str(data_dir)])
    assert (answer.exit_code, answer.stderr) == (0, "")
    return answer.stdout


def refused(command: str, file: Path, data_dir: Path) -> str:
    """The one line that says why."""
    answer = CliRunner().invoke(cli, [command, str(file), "--data-dir", str(data_dir)])
    assert (answer.exit_code, answer.stdout) == (1, "")
    (line,) = answer.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def kept(client: httpx.Client, job: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The hash of the job's weights, and all datasets."""
    model = client.get(f"/v1/models/{job['model']}").json()
    return model["weights_sha256"], client.get("/v1/datasets?limit=100").json()


def test_a_service_goes_on_elsewhere_from_a_backup_of_it_running(
    service: Service, tmp_path: Path
) -> None:
    """With the same weights for the job that trained meanwhile."""
    dataset = upload(service.client, tables.flowers())
    job = submit(service.client, dataset["id"], "label", training={"epochs": 12, "batch_size": 4})
    file, data_dir = tmp_path / "backup.tar.gz", tmp_path / "data"
    assert done("backup", file, service.data_dir).startswith(f"{file} holds ")
    assert "not empty" in refused("restore", file, service.data_dir)
    assert done("restore", file, data_dir).startswith(f"{data_dir} is as it was at ")

    here = finished(service.client, job["id"])
    with embedded(tmp_path, **SETTINGS) as restored:
        there = finished(restored.client, job["id"])
        assert here["state"] == there["state"] == "succeeded"
        assert kept(restored.client, there) == kept(service.client, here)


def test_what_is_not_possible_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, data_dir = tmp_path / "backup.tar", tmp_path / "data"
    assert "there is no database" in refused("backup", file, data_dir)
    assert "No such file" in refused("restore", file, data_dir)
    file.write_bytes(b"letters")
    assert "not a complete backup" in refused("restore", file, data_dir)
    monkeypatch.setenv("DROPOUT_DATABASE_URL", "postgresql://db/x")
    assert "pg_dump" in refused("backup", file, data_dir)
    assert "pg_restore" in refused("restore", file, data_dir)
