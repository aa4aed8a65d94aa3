"""What docker-compose.yml says, and that its own commands and health checks do work."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from store.settings import PREFIX, Settings
from tests.support.client import Client
from tests.support.databases import new_postgresql
from tests.support.ports import free_port
from tests.support.processes import COMMAND, running
from tests.support.service import START_SECONDS
from tests.support.waiting import wait_until
from tests.support.worker_examples import EPOCHS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
OURS = ("api", "dispatcher", "worker-cpu", "worker-gpu")
STARTED = ("api", "dispatcher", "worker-cpu")  # of two workers alike, one
FIRST_KEY = re.compile(r"docker compose run --build --rm (\S+) dropout-service (keys .+)")


def test_every_service_is_there() -> None:
    assert set(SERVICES) == {*OURS, "postgres", "redis"}
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"]
    assert [name for name, service in SERVICES.items() if "profiles" in service] == ["worker-gpu"]


def test_the_workers_differ_in_their_queue_alone() -> None:
    cpu, gpu = (SERVICES[f"worker-{queue}"] for queue in ("cpu", "gpu"))
    assert gpu["command"] == cpu["command"].replace("cpu", "gpu")
    assert gpu["healthcheck"] == cpu["healthcheck"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_tells_its_health(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_keeps_is_kept_on_a_volume(name: str) -> None:
    [volume] = SERVICES[name]["volumes"]
    assert volume.split(":")[0] in yaml.safe_load(TEXT)["volumes"]


def test_no_secret_has_a_default() -> None:
    variables = re.findall(r"\$\{([^}]*)\}", TEXT)
    assert {variable.split(":")[0] for variable in variables} == {
        "POSTGRES_PASSWORD",
        "REDIS_PASSWORD",
    }
    assert all(":?" in variable for variable in variables)


def test_every_secret_is_a_variable() -> None:
    values = [
        value
        for service in SERVICES.values()
        for name, value in service.get("environment", {}).items()
        if re.search("PASSWORD|KEY|AUTH|URL", name)
    ]
    values = [value for value in values if value is not None]  # the others come from .env as well
    assert values
    assert all("${" in value for value in values)


def test_every_setting_reaches_our_services() -> None:
    """As it is, or by a value that fits the other services. One is of earlier releases."""
    settings = {f"{PREFIX}{name}".upper() for name in Settings.model_fields} - {"DROPOUT_API_KEY"}
    theirs = re.compile(r"(?<![\w.])(?:AWS|OTEL)_[A-Z_]+[A-Z0-9]")
    sources = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "store").rglob("*.py")]
    documented = {name for path in sources for name in theirs.findall(path.read_text())}
    documented -= {"AWS_ENDPOINT", "AWS_ENDPOINT_URL_S3"}  # other names of AWS_ENDPOINT_URL
    for name in OURS:
        given = SERVICES[name]["environment"]
        assert settings | documented <= given.keys()
        assert {n for n in given if n.startswith(PREFIX)} == settings


def test_the_example_names_every_secret_and_tells_none() -> None:
    example = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == set(
        re.findall(r"\$\{(\w+)", TEXT)
    )


def test_only_this_machine_reaches_a_port() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:8000:8000"]}


@pytest.mark.parametrize("name", OURS)
def test_our_services_may_do_no_more_than_they_must(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_image_does_not_run_as_root() -> None:
    users = re.findall(r"^USER (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert users == ["dropout"]


def test_the_image_answers_on_its_port_and_only_with_keys() -> None:
    """`serve` at an address that is not loopback refuses to start before there is a key."""
    (command,) = re.findall(r"^CMD (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert json.loads(command) == ["dropout-service", "serve", "--host", "0.0.0.0"]


def test_a_worker_has_time_to_hand_its_jobs_back() -> None:
    for name in ("worker-cpu", "worker-gpu"):
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > 30


class Stand:
    """This machine in the place of the containers: what they are called is replaced by what it is.

    The values of the file stay as they are but for addresses, credentials and the data directory.
    """

    key: str

    def __init__(self, folder: Path, *, database_url: str, redis_url: str) -> None:
        self.port = free_port()
        self._folder = folder
        self._places = {
            "DROPOUT_DATA_DIR": str(folder / "data"),
            "DROPOUT_DATABASE_URL": database_url,
            "DROPOUT_REDIS_URL": redis_url,
            "TMPDIR": str(folder),
        }

    def environment(self, name: str) -> dict[str, str]:
        given = SERVICES[name]["environment"]
        return {variable: self._places[variable] for variable in given if given[variable]}

    def start(self, name: str) -> Any:
        program, *arguments = self._arguments(shlex.split(SERVICES[name]["command"]))
        assert program == "dropout-service"
        log = self._folder / f"log-{name}"
        return running([*COMMAND, *arguments], self.environment(name), log=log)

    def make_key(self) -> str:
        """The token of the first key, by the command that the head of the file names."""
        [(name, command)] = FIRST_KEY.findall(TEXT)
        made = subprocess.run(
            [*COMMAND, *shlex.split(command)],
            env=os.environ | self.environment(name),
            capture_output=True,
            text=True,
            check=True,
        )
        return made.stdout.strip()

    def is_healthy(self, name: str) -> bool:
        _, program, *arguments = self._arguments(SERVICES[name]["healthcheck"]["test"])
        assert program == "python"
        check = subprocess.run(
            [sys.executable, *arguments],
            env=os.environ | self.environment(name),
            cwd=ROOT,
            capture_output=True,
        )
        return check.returncode == 0

    def _arguments(self, command: list[str]) -> list[str]:
        return [argument.replace("8000", str(self.port)) for argument in command]


@pytest.fixture
def stand(tmp_path: Path, redis_url: str) -> Iterator[Stand]:
    """All our services, started as the file says."""
    with ExitStack() as stack:
        database_url = stack.enter_context(new_postgresql())
        stand = Stand(tmp_path, database_url=database_url, redis_url=redis_url)
        stand.key = stand.make_key()
        for name in STARTED:
            stack.enter_context(stand.start(name))
        yield stand


def test_its_commands_and_health_checks_do_work(stand: Stand) -> None:
    address = f"http://127.0.0.1:{stand.port}"
    with Client(address) as anybody:
        wait_until(anybody.is_ready, START_SECONDS)  # a check is a process, which takes a second
    for name in STARTED:
        wait_until(lambda name=name: stand.is_healthy(name), START_SECONDS)
    assert httpx.get(f"{address}/v1/jobs", trust_env=False).status_code == 401
    with Client(address, key=stand.key) as client:
        job_id = client.submit()

        assert client.result(job_id).epochs_announced == list(range(1, EPOCHS + 1))
        assert client.predicts(job_id)
