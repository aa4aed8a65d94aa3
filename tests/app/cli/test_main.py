import shutil
import sqlite3
import subprocess
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.main import cli
from tests.support.problems import assert_refused
from tests.support.processes import COMMAND, environment

ROLES = ["serve", "api", "worker", "dispatch", "demo"]


def run(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_help_names_every_role() -> None:
    answer = CliRunner().invoke(cli, ["--help"])
    assert answer.exit_code == 0
    for role in ROLES:
        assert role in answer.output


def test_the_release_is_told() -> None:
    answer = CliRunner().invoke(cli, ["--version"])
    assert (answer.exit_code, answer.stdout) == (
        0,
        f"dropout-service {version('dropout-service')}\n",
    )


@pytest.mark.parametrize("role", ROLES)
def test_every_role_explains_itself(role: str) -> None:
    answer = CliRunner().invoke(cli, [role, "--help"])
    assert answer.exit_code == 0
    assert "Usage" in answer.output


def test_an_open_address_without_a_key_is_refused(tmp_path: Path) -> None:
    done = run("api", "--host", "0.0.0.0", "--port", "0", data_dir=tmp_path)
    assert_refused(done, "0.0.0.0", "dropout-service keys create")


@pytest.mark.parametrize("role", ["worker", "dispatch"])
def test_a_role_that_needs_a_broker_says_so(tmp_path: Path, role: str) -> None:
    assert_refused(run(role, data_dir=tmp_path), "DROPOUT_REDIS_URL")


@pytest.mark.parametrize("command", [["serve"], ["dispatch"], ["keys", "list"]], ids=" ".join)
def test_a_database_of_a_newer_release_is_told_in_one_line(
    tmp_path: Path, sqlite_template: Path, command: list[str]
) -> None:
    shutil.copy(sqlite_template, tmp_path / "dropout.db")
    with closing(sqlite3.connect(tmp_path / "dropout.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    done = run(*command, data_dir=tmp_path, redis_url="redis://127.0.0.1:1")
    assert_refused(done, "the database is of a newer release (schema '9999')")


def test_a_setting_that_makes_no_sense_is_named() -> None:
    answer = CliRunner().invoke(cli, ["serve"], env={"DROPOUT_CONCURRENCY": "0"})
    assert answer.exit_code == 1
    (line,) = answer.stderr.splitlines()
    assert line.startswith("error: DROPOUT_CONCURRENCY: ")
    assert "greater than or equal to 1" in line


def test_settings_that_make_no_sense_together_are_told() -> None:
    answer = CliRunner().invoke(cli, ["serve"], env={"DROPOUT_LEASE_SECONDS": "1"})
    assert answer.exit_code == 1
    (line,) = answer.stderr.splitlines()
    assert line.startswith("error: ")
    assert "lease_seconds" in line


def test_a_port_out_of_range_is_refused() -> None:
    answer = CliRunner().invoke(cli, ["serve", "--port", "65536"])
    assert answer.exit_code == 2
    assert "--port" in answer.output
