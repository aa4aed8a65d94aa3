from importlib.metadata import version

import pytest

from tests.support.client import Client
from tests.support.service import Service
from tests.support.worker_examples import Result

pytestmark = pytest.mark.xdist_group("services")  # they share what takes long to start


@pytest.fixture
def client(scaled_out: Service) -> Client:
    return scaled_out.client


def test_a_table_becomes_a_model_that_answers(client: Client, uninterrupted: Result) -> None:
    job_id = client.submit()

    assert client.result(job_id) == uninterrupted
    assert client.predicts(job_id)


def test_a_job_that_is_cancelled_keeps_its_model(client: Client) -> None:
    job_id = client.submit(epochs=100_000)
    client.wait_for_epoch(job_id, 2)
    client.cancel(job_id, json={"keep_model": True})
    assert client.wait_until_over(job_id)["state"] == "cancelled"
    model = client.read(f"/v1/models/{client.job(job_id)['model']}")
    assert model["job"] == job_id


def test_an_api_tells_its_release_and_its_address(scaled_out: Service) -> None:
    """Of `--port 0` nobody would know it otherwise."""
    stdout = scaled_out.started["api-0"].stdout
    assert stdout is not None
    release = version("dropout-service")
    assert stdout.readline() == f"Dropout Service {release} listens at {scaled_out.address}\n"
