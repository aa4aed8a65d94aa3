import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support import tables
from tests.support.client import events, finished, submit, train, upload, wait_for_event
from tests.support.problems import assert_refused
from tests.support.processes import STOP_SECONDS, environment, is_alive
from tests.support.service import SETTINGS, Service, embedded
from tests.support.waiting import wait_until

LONG = {"epochs": 100_000, "batch_size": 1}


@pytest.fixture
def own_service(tmp_path: Path) -> Iterator[Service]:
    """A service that the test may end as it likes."""
    with embedded(tmp_path, **SETTINGS, hang_seconds=6) as service:
        yield service


def serve_again(data_dir: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """The end of a `serve` that has to fail."""
    command = [sys.executable, "-m", "app", "serve", "--data-dir", str(data_dir), *options]
    return subprocess.run(
        command, env=environment(**SETTINGS), capture_output=True, text=True, timeout=60
    )


def assert_all_gone(processes: list[psutil.Process]) -> None:
    assert processes
    wait_until(lambda: not any(is_alive(process) for process in processes), 30)


def test_serve_heals_and_ends_in_order(own_service: Service) -> None:
    """One service for all of it, because starting one takes seconds."""
    address = own_service.address
    stdout = own_service.started["serve"].stdout
    assert stdout is not None
    release = version("dropout-service")
    assert stdout.readline() == f"Dropout Service {release} is ready at {address}\n"

    dataset = upload(own_service.client, tables.flowers())
    model = train(own_service.client, dataset["id"], "label", training={"epochs": 1})["model"]
    question = {"url": f"/v1/models/{model}/predict", "json": {"instances": [[4.9, 1.6]]}}
    answer = own_service.client.post(**question)
    assert answer.status_code == 200

    api = own_service.only("api")
    own_service.stop(api)  # it hangs: it is not dead, and would be waited for without an end
    # The socket stays open meanwhile: a call waits for the new process, and is not refused.
    with httpx.Client(base_url=address, timeout=60) as client:
        assert client.get("/readyz").status_code == 200
        assert own_service.only("api").pid != api.pid
        assert client.post(**question).content == answer.content  # the same bits from another

        job = submit(client, dataset["id"], "label", training=LONG)
        wait_for_event(client, job["id"], "epoch")
        own_service.only("worker").kill()
        wait_until(lambda: client.get(f"/v1/jobs/{job['id']}").json()["attempt"] == 2, 60)
        client.post(f"/v1/jobs/{job['id']}/cancel")
        assert finished(client, job["id"])["state"] == "cancelled"

    # A stream that is open ends when the service does, and is not cut off.
    job = submit(own_service.client, dataset["id"], "label", training=LONG)
    stream = events(own_service.client, job["id"])
    assert next(stream)["event"] == "queued"

    processes = own_service.processes()
    folder = Path(psutil.Process(own_service.started["serve"].pid).environ()["TMPDIR"])
    said = own_service.end("serve", signal.SIGTERM)
    assert own_service.started["serve"].returncode == 0
    assert said == ""
    assert_all_gone(processes)
    assert {event["event"] for event in stream} <= {"running", "epoch"}
    assert not re.search("Traceback|timeout graceful shutdown", own_service.log())
    assert list(folder.iterdir()) == []  # nothing of the processes that were killed, either


def test_a_terminals_interrupt_ends_it_quietly(own_service: Service) -> None:
    processes = own_service.processes()
    os.killpg(own_service.started["serve"].pid, signal.SIGINT)
    own_service.started["serve"].wait(STOP_SECONDS)
    assert own_service.started["serve"].returncode == 0
    assert_all_gone(processes)
    log = own_service.log()
    assert not re.search("Traceback|Fatal|Aborted|KeyboardInterrupt", log)


def test_children_of_a_killed_service_end_by_themselves(own_service: Service) -> None:
    dataset = upload(own_service.client, tables.flowers())
    job = submit(own_service.client, dataset["id"], "label", training=LONG)
    wait_for_event(own_service.client, job["id"], "epoch")
    processes = own_service.processes()
    own_service.end("serve", signal.SIGKILL)
    assert_all_gone(processes)


def test_a_data_directory_has_one_service(service: Service) -> None:
    second = serve_again(service.data_dir, "--port", "0")
    assert_refused(second, "another process", str(service.data_dir))
    assert service.client.get("/readyz").status_code == 200


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = serve_again(tmp_path, "--port", str(taken.getsockname()[1]))
    assert_refused(done, "in use")
