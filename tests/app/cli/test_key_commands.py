"""`dropout-service keys`, as whoever runs the service uses it."""

import re
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.main import cli
from tests.support.problems import assert_refused
from tests.support.processes import COMMAND, environment


def run(*arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "keys", *arguments],
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
    )


def call(data_dir: Path, *arguments: str) -> str:
    """What a command answers, in this process."""
    answer = CliRunner().invoke(cli, ["keys", *arguments, "--data-dir", str(data_dir)])
    assert answer.exit_code == 0, answer.output
    return answer.stdout


def test_a_new_key_is_printed_alone(tmp_path: Path) -> None:
    done = run("create", "laptop", data_dir=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"dsk_[0-9a-z]{26}_[\w-]{43}\n", done.stdout)
    [database] = tmp_path.iterdir()
    assert database.stat().st_mode & 0o777 == 0o600


def test_the_list_tells_all_but_the_secret(tmp_path: Path) -> None:
    given = ["--tenant", "garden", "--scope", "read", "--scope", "predict", "--days", "30"]
    tokens = [call(tmp_path, "create", "laptop"), call(tmp_path, "create", "phone", *given)]
    heads, first, second = call(tmp_path, "list").splitlines()
    assert heads.split("  ")[0] == "ID"
    assert re.split(r"\s{2,}", first)[1:] == [
        *("laptop", "default", "read,train,predict", "until revoked", "never")
    ]
    cells = re.split(r"\s{2,}", second)
    assert cells[1:4] == ["phone", "garden", "read,predict"]
    assert re.fullmatch(r"until \d{4}-\d\d-\d\d", cells[4])
    for token, line in zip(tokens, (first, second), strict=True):
        _, name, secret = token.strip().split("_", 2)
        assert line.startswith(f"key_{name}  ")
        assert secret not in first + second


def test_a_revoked_key_is_listed_as_that(tmp_path: Path) -> None:
    token = call(tmp_path, "create", "laptop")
    key_id = f"key_{token.split('_')[1]}"
    for _ in range(2):
        assert call(tmp_path, "revoke", key_id) == f"{key_id} (laptop) is revoked\n"
    assert "  revoked " in call(tmp_path, "list").splitlines()[1]


def test_a_key_that_has_expired_is_listed_as_that(tmp_path: Path) -> None:
    call(tmp_path, "create", "brief", "--days", "1e-9")
    assert "  expired " in call(tmp_path, "list").splitlines()[1]


@pytest.mark.parametrize("arguments", [["list"], ["revoke", "key_0"]])
def test_a_data_directory_that_is_not_there_is_not_made(
    tmp_path: Path, arguments: list[str]
) -> None:
    data_dir = tmp_path / "misspelt"
    answer = CliRunner().invoke(cli, ["keys", *arguments, "--data-dir", str(data_dir)])
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert f"there is no database at {data_dir}" in answer.stderr
    assert not data_dir.exists()


def test_an_unknown_key_is_refused_in_one_line(tmp_path: Path) -> None:
    call(tmp_path, "create", "laptop")
    assert_refused(run("revoke", "key_0", data_dir=tmp_path), "there is no key 'key_0'")


WRONG = [
    ("--tenant", ["laptop", "--tenant", "Garden"]),
    ("--tenant", ["laptop", "--tenant", ""]),
    ("--tenant", ["laptop", "--tenant", "x" * 64]),
    ("--tenant", ["laptop", "--tenant", "a b"]),
    ("--scope", ["laptop", "--scope", "root"]),
    *(("--days", ["laptop", "--days", days]) for days in ("-1", "0", "nan", "inf", "1e300", "x")),
    *(("name", [name]) for name in ("", "two\nlines", "\x1b[31m", "x" * 101)),
]


@pytest.mark.parametrize(("named", "arguments"), WRONG)
def test_what_makes_no_sense_is_named_and_makes_no_key(
    tmp_path: Path, named: str, arguments: list[str]
) -> None:
    asked = ["keys", "create", *arguments, "--data-dir", str(tmp_path)]
    answer = CliRunner().invoke(cli, asked)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert named in answer.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_is_away_is_told_without_its_password(tmp_path: Path) -> None:
    url = "postgresql://me:correct-horse@127.0.0.1:1/dropout"
    done = run("list", data_dir=tmp_path, database_url=url)
    assert_refused(done, "the database failed")
    assert "correct-horse" not in done.stderr


def test_a_place_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert_refused(run("list", data_dir=tmp_path / "file" / "data"), "file")
