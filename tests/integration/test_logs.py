"""What the worker's processes say, each line of it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from store.settings import Settings
from tests.support.ports import free_port
from tests.support.processes import python, running
from tests.support.waiting import wait_until

PASSWORD = "correct-horse-battery"

# Without the second and a half that trainers' server takes, which has nothing to say here.
CELERY_WORKER = """
from worker import __main__ as role
role.warm_up = lambda: None
role.cli(["celery"])
"""

TRAINER = """
import types
from worker import trainer_process
trainer_process.TRAINER = "a_trainer_that_fails"
trainer_process._run_trainer(None, [types.SimpleNamespace(job_id="job_1", attempt=2)])
"""


def lines_of(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_a_broker_that_is_away_is_told_in_json_without_its_password(
    sqlite_url: str, tmp_path: Path
) -> None:
    settings = Settings(
        data_dir=tmp_path,
        database_url=sqlite_url,
        redis_url=SecretStr(f"redis://:{PASSWORD}@127.0.0.1:{free_port()}/0"),
    )
    log = tmp_path / "log"
    with running(python("-c", CELERY_WORKER), settings, log=log) as worker:
        wait_until(lambda: "celery.worker.consumer" in log.read_text(), 60)
        worker.terminate()
        assert worker.stdout is not None
        printed = worker.stdout.read()
    assert any(line["logger"] == "celery.worker.consumer.consumer" for line in lines_of(log))
    assert PASSWORD not in printed + log.read_text()


def test_a_database_that_is_away_is_told_in_json_without_its_password(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path,
        database_url=f"postgresql://me:{PASSWORD}@127.0.0.1:{free_port()}/x",
        redis_url=SecretStr(f"redis://:{PASSWORD}@127.0.0.1:{free_port()}/0"),
    )
    log = tmp_path / "log"
    with running(python("-m", "worker", "dispatch"), settings, log=log) as dispatcher:
        wait_until(lambda: log.read_text().endswith("\n"), 60)
        dispatcher.terminate()
        dispatcher.wait(30)
    assert lines_of(log)[-1]["event"] == "uncaught exception"
    assert PASSWORD not in log.read_text()


def test_settings_that_make_no_sense_are_told_without_passwords(tmp_path: Path) -> None:
    environment = {
        "PATH": "",
        "DROPOUT_ARTIFACT_URL": f"s3://me:{PASSWORD}@b",
    }
    ended = subprocess.run(
        python("-m", "worker", "dispatch"), env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert "use s3://bucket/prefix" in ended.stderr
    assert PASSWORD not in ended.stderr + ended.stdout


def test_a_trainer_that_fails_says_whose_it_was(tmp_path: Path) -> None:
    (tmp_path / "a_trainer_that_fails.py").write_text("def main(*_): 1 / 0")
    ended = subprocess.run(
        [sys.executable, "-c", TRAINER],
        env={"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"},
        capture_output=True,
        text=True,
    )
    [line] = [json.loads(line) for line in ended.stderr.splitlines()]
    assert (line["job"], line["attempt"], line["level"]) == ("job_1", 2, "error")
    assert line["exception"].endswith("ZeroDivisionError: division by zero")
    assert ended.returncode == 1
