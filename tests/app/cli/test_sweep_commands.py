"""`dropout-service sweeps`, as a client of a service that runs."""

import json
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from app.cli.main import cli
from tests.support.service import Service

DROPOUT = "/model/hidden_dropout"


def run(service: Service, *arguments: str, **options: Any) -> Result:
    variables = {"DROPOUT_URL": service.address}
    return CliRunner().invoke(cli, ["sweeps", *arguments], env=variables, **options)


def sweep(flowers: dict[str, Any], **search: Any) -> str:
    job = {
        "dataset": {"id": flowers["id"], "target": "label"},
        "model": {"hidden": [8]},
        "training": {"epochs": 2},
    }
    space = {DROPOUT: {"choice": [0.1, 0.2]}}
    return json.dumps({"name": "by command", "job": job, "space": space, **search})


def test_a_sweep_is_followed_to_its_winner(service: Service, flowers: dict[str, Any]) -> None:
    done = run(service, "create", "-", "--follow", input=sweep(flowers))
    assert done.exit_code == 0, done.output
    assert "trials 0 to 1 are queued" in done.stdout
    assert "state     succeeded (completed)" in done.stdout
    assert f"          {DROPOUT} = 0." in done.stdout
    [listed] = [
        each
        for each in json.loads(run(service, "list", "--json").stdout)["data"]
        if each["name"] == "by command"
    ]
    assert f"model     {listed['model']}" in done.stdout
    heads, first, second = run(service, "trials", listed["id"]).stdout.splitlines()
    assert heads.split() == ["TRIAL", "STATE", "EPOCHS", "SCORE", "VALUES"]
    assert sorted(line.split()[1] for line in (first, second)) == ["not_chosen", "succeeded"]
    assert "2 (1 succeeded, 1 not_chosen)" in run(service, "list").stdout
    assert run(service, "delete", listed["id"]).exit_code == 0
    gone = run(service, "show", listed["id"])
    assert (gone.exit_code, gone.stderr) == (1, f"error: there is no sweep {listed['id']!r}\n")


def test_a_plan_is_told_and_nothing_runs(service: Service, flowers: dict[str, Any]) -> None:
    told = run(service, "create", "-", "--check", input=sweep(flowers, repeats=2))
    assert told.stdout.splitlines()[:2] == ["2 trials, 4 jobs", "  rung 0: 2 trials at 2 epochs"]
    assert f"  trial 1: {DROPOUT}=0." in told.stdout


def test_a_refusal_is_one_line_with_the_field(service: Service, flowers: dict[str, Any]) -> None:
    done = run(service, "create", "-", input=sweep(flowers, repeats=0))
    assert done.exit_code == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("error: /repeats: ")


@pytest.mark.parametrize(
    ("arguments", "text", "exit_code"),
    [
        (["create", "-"], "{", 2),
        (["create", "/no/such/file"], "", 2),
        (["trials", "swp_" + 26 * "0", "--order", "best"], "", 2),
        (["delete", "../jobs/job_" + 26 * "0"], "", 2),
        (["list", "--url", "http://127.0.0.1:1"], "", 1),
        (["list", "--url", "nowhere"], "", 1),
        (["list", "--key", "ключ"], "", 1),
    ],
)
def test_what_cannot_be_meant_is_an_error(
    service: Service, arguments: list[str], text: str, exit_code: int
) -> None:
    assert run(service, *arguments, input=text).exit_code == exit_code
