"""`backup` and `restore` as their users call them."""

import shutil
import stat
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from app.cli.main import cli
from store.database.engine import Database
from store.database.tables import datasets
from store.settings import PREFIX, Settings
from tests.support import tables
from tests.support.client import finished, submit, upload
from tests.support.service import SETTINGS, Service, embedded
from tests.support.store_examples import new_dataset


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


def invoke_restore(file: Path, data_dir: Path) -> str:
    """What it warns of."""
    answer = CliRunner().invoke(cli, ["restore", str(file), "--data-dir", str(data_dir)])
    assert answer.exit_code == 0
    return answer.stderr


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
    others = stat.S_IRWXG | stat.S_IRWXO
    for path in (service.data_dir, *service.data_dir.rglob("*")):
        assert path.lstat().st_mode & others == 0, path  # only the service's user can read it
    assert done("restore", file, data_dir).startswith(f"{data_dir} is as it was at ")

    here = finished(service.client, job["id"])
    with embedded(tmp_path, **SETTINGS) as restored:
        there = finished(restored.client, job["id"])
        assert here["state"] == there["state"] == "succeeded"
        assert kept(restored.client, there) == kept(service.client, here)


def test_a_backup_without_a_damaged_table_is_made_and_fails(
    tmp_path: Path, sqlite_template: Path
) -> None:
    data_dir, file = tmp_path / "data", tmp_path / "backup.tar"
    key = f"datasets/ds_1.{'0' * 64}.parquet"
    damaged = data_dir / "artifacts" / key
    damaged.parent.mkdir(parents=True)
    damaged.write_text("damaged")
    shutil.copy(sqlite_template, data_dir / "dropout.db")
    database = Database(Settings(data_dir=data_dir).database)
    with closing(database), database.write() as transaction:
        new_dataset(transaction)
        transaction.execute(update(datasets).values(artifact=key))
    answer = CliRunner().invoke(cli, ["backup", str(file), "--data-dir", str(data_dir)])
    assert answer.exit_code == 1
    assert f"{file} holds 1 datasets" in answer.stdout
    warning, error = answer.stderr.splitlines()
    assert warning.startswith(f"warning: the artifact {key} does not match its checksum")
    assert error.startswith("error: 1 damaged")
    assert f"the artifact {key} was lost" in invoke_restore(file, tmp_path / "other")


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
