import asyncio
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.registry import Collector
from sqlalchemy import make_url, update
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from app.http.telemetry import RequestDurations
from app.main import create_app
from app.monitoring.instruments import Instruments
from app.monitoring.recorded_jobs import RecordedJobs
from store import jobs
from store.access.keys import DEFAULT_TENANT
from store.database.engine import Database
from store.database.tables import jobs as jobs_table
from store.operations import metrics, statistics
from store.settings import Settings
from tests.support.in_process import TestClient
from tests.support.metrics import Samples, labels_of, samples_of, scrape, value
from tests.support.problems import assert_problem
from tests.support.service import Service
from tests.support.store_examples import TRAINED, new_claim, new_job, new_key

Client = httpx.Client

REQUESTS = "dropout_http_request_duration_seconds"


def test_requests_are_counted_by_template_method_and_class(sqlite_client: Client) -> None:
    for job_id in ("job_1", "job_2"):
        sqlite_client.get(f"/v1/jobs/{job_id}")
    sqlite_client.get("/v1/jobs")
    sqlite_client.get("/nowhere/1")
    sqlite_client.request("BREW", "/nowhere/2")
    sqlite_client.get("/static-offline-docs/swagger-ui.css")
    samples = scrape(sqlite_client)
    counted = {
        ("GET", "/v1/jobs/{job_id}", "4xx"): 2,
        ("GET", "/v1/jobs", "2xx"): 1,
        ("GET", "none", "4xx"): 1,
        ("other", "none", "4xx"): 1,
        ("GET", "/static-offline-docs", "2xx"): 1,
    }
    for (method, route, status), count in counted.items():
        labels = {"method": method, "route": route, "status": status}
        assert value(samples, f"{REQUESTS}_count", **labels) == count
        assert 0 < value(samples, f"{REQUESTS}_sum", **labels) < 60
        assert value(samples, f"{REQUESTS}_bucket", le="+Inf", **labels) == count
    assert len(labels_of(samples, f"{REQUESTS}_count")) == len(counted)


def test_a_request_that_fails_unexpectedly_is_counted_as_that(sqlite_url: str) -> None:
    app = create_app(Settings(database_url=sqlite_url))

    @app.get("/fail/{reason}")
    def fail(reason: str) -> None:
        raise ZeroDivisionError(reason)

    client = TestClient(app, raise_server_exceptions=False)
    with capture_logs():
        assert client.get("/fail/1").status_code == 500
    labels = {"method": "GET", "route": "/fail/{reason}", "status": "5xx"}
    assert value(scrape(client), f"{REQUESTS}_count", **labels) == 1


class Nothing(Collector):
    """What a service without a database has on record."""

    def collect(self) -> Iterator[Any]:
        return iter(())


def test_an_event_stream_counts_until_it_begins() -> None:
    began_at = math.inf

    async def stream(_scope: Scope, _receive: Receive, send: Send) -> None:
        nonlocal began_at
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        began_at = time.perf_counter()
        while time.perf_counter() < began_at + 0.01:  # longer than what comes before it
            await send({"type": "http.response.body", "body": b": still here\n\n"})

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_message: Message) -> None:
        pass

    instruments = Instruments(collectors=[Nothing()], versions={})
    app = RequestDurations(stream, instruments=instruments, access_log=False)
    started_at = time.perf_counter()
    asyncio.run(app({"type": "http", "method": "GET", "root_path": ""}, receive, send))
    samples = samples_of(instruments.expose(None)[0].decode())
    labels = {"method": "GET", "route": "none", "status": "2xx"}
    assert value(samples, f"{REQUESTS}_sum", **labels) <= began_at - started_at


def test_rows_of_predictions_are_counted(live: Client, flower_model: dict[str, Any]) -> None:
    before = scrape(live)
    for num_rows in (1, 3):
        body = {"instances": [[1.0, 2.0]] * num_rows}
        live.post(f"/v1/models/{flower_model['id']}/predict", json=body).raise_for_status()
    live.post(f"/v1/models/{flower_model['id']}/predict", json={"instances": [[]]})
    after = scrape(live)
    risen = {
        name: value(after, name) - value(before, name)
        for name in ("dropout_predict_rows_count", "dropout_predict_rows_sum")
    }
    assert risen == {"dropout_predict_rows_count": 2, "dropout_predict_rows_sum": 4}


def test_jobs_of_a_service_are_told(live: Client, flower_job: dict[str, Any]) -> None:
    samples = scrape(live)
    assert value(samples, "dropout_database_up") == 1
    assert value(samples, "dropout_jobs", state=flower_job["state"]) >= 1
    outcome = {"state": flower_job["state"], "reason": flower_job["state_reason"]}
    assert value(samples, "dropout_job_duration_seconds_gcount", **outcome) >= 1
    assert value(samples, "dropout_job_queue_wait_seconds_gcount") >= 1


def test_the_build_is_told(sqlite_client: Client) -> None:
    samples = scrape(sqlite_client)
    (labels,) = labels_of(samples, "dropout_build_info")
    assert labels.keys() == {"version", "python", "torch"}
    assert labels["version"] == sqlite_client.get("/openapi.json").json()["info"]["version"]


def lived(
    database: Database, state: str, *, created: float, started: float, finished: float | None
) -> None:
    """A job of such a life, in Unix seconds; `run_after` is when it was created."""
    with database.write() as transaction:
        claim = new_claim(transaction)
        if state == "succeeded":
            jobs.succeed(transaction, claim, reason="completed", trained=TRAINED)
        elif state == "failed":
            jobs.fail(transaction, claim, reason="diverged", detail="")
        times = {"created_at": created, "run_after": created, "started_at": started}
        transaction.execute(
            update(jobs_table)
            .where(jobs_table.c.id == claim.job_id)
            .values(**times, finished_at=finished)
        )


def test_recorded_jobs_are_told_by_state_and_outcome(database: Database) -> None:
    lived(database, "succeeded", created=0, started=2, finished=42)
    lived(database, "succeeded", created=0, started=20, finished=520)
    lived(database, "failed", created=0, started=0.25, finished=1.25)
    lived(database, "running", created=0, started=1, finished=None)
    with database.write() as transaction:
        jobs.cancel(
            transaction, new_job(transaction).id, tenant=DEFAULT_TENANT
        )  # which never was started
    samples = told(database)
    states = {"queued": 0, "running": 1, "paused": 0, "cancelling": 0}
    states |= {"succeeded": 2, "failed": 1, "cancelled": 1}
    assert {name: value(samples, "dropout_jobs", state=name) for name in states} == states
    assert len(labels_of(samples, "dropout_jobs")) == len(states)
    assert {labels["state"] for labels in labels_of(samples, "dropout_sweeps")} == {
        *("running", "paused", "succeeded", "failed", "cancelled")
    }

    wait, duration = "dropout_job_queue_wait_seconds", "dropout_job_duration_seconds"
    waits = [
        value(samples, f"{wait}_bucket", le=le) for le in ("0.5", "1.0", "2.5", "10.0", "+Inf")
    ]
    assert waits == [1, 2, 3, 3, 4]
    assert (value(samples, f"{wait}_gcount"), value(samples, f"{wait}_gsum")) == (4, 23.25)

    completed = {"state": "succeeded", "reason": "completed"}
    within = [value(samples, f"{duration}_bucket", le=le, **completed) for le in ("30.0", "60.0")]
    assert within == [0, 1]
    assert value(samples, f"{duration}_gsum", **completed) == 540
    diverged = {"state": "failed", "reason": "diverged"}
    assert value(samples, f"{duration}_gcount", **diverged) == 1
    assert len(labels_of(samples, f"{duration}_gcount")) == 2
    assert value(samples, "dropout_job_attempts_gsum", state="succeeded") == 2


def test_the_longest_due_job_tells_the_age_of_the_queue(database: Database) -> None:
    with database.read() as transaction:
        assert statistics.longest_due_seconds(transaction) == 0
    with database.write() as transaction:
        waiting, backing_off = (new_job(transaction).id for _ in range(2))
        for job_id, seconds in ((waiting, 1000), (backing_off, -1000)):
            row = update(jobs_table).where(jobs_table.c.id == job_id)
            transaction.execute(row.values(run_after=jobs_table.c.run_after - seconds))
    # Up to the timeout of a test later; what backs off is not due at all.
    assert 1000 <= value(told(database), "dropout_oldest_queued_job_age_seconds") < 1200
    with database.write() as transaction:
        jobs.cancel(transaction, waiting, tenant=DEFAULT_TENANT)
    assert value(told(database), "dropout_oldest_queued_job_age_seconds") == 0


def test_work_is_bounded_and_a_long_queue_hides_no_wait(database: Database) -> None:
    for created in range(4):
        lived(database, "succeeded", created=created, started=created + 1, finished=created + 2)
    lived(database, "running", created=9, started=10, finished=None)
    with database.write() as transaction:
        for _ in range(4):
            new_job(transaction)
    with database.read() as transaction:
        lives = statistics.recent_job_times(transaction, limit=2)
    assert sorted((life.state, life.created_at) for life in lives) == [
        ("running", 9),
        ("succeeded", 2),
        ("succeeded", 3),
    ]


def told(database: Database) -> Samples:
    """What is told of a database's jobs."""
    instruments = Instruments(collectors=[RecordedJobs(database)], versions={})
    return samples_of(instruments.expose(None)[0].decode())


def test_a_database_that_went_away_is_told_beside_the_rest(sqlite_url: str, tmp_path: Path) -> None:
    client = TestClient(create_app(Settings(data_dir=tmp_path, database_url=sqlite_url)))
    assert value(scrape(client), "dropout_database_up") == 1
    client.get("/livez")
    Path(make_url(sqlite_url).database or "").write_bytes(b"no database" * 10_000)
    samples = scrape(client)
    assert value(samples, "dropout_database_up") == 0
    assert not labels_of(samples, "dropout_jobs")
    assert len(labels_of(samples, "dropout_build_info")) == 1
    labels = {"method": "GET", "route": "/livez", "status": "2xx"}
    assert value(samples, f"{REQUESTS}_count", **labels) == 1


def test_metrics_need_the_key_where_there_is_one(sqlite_url: str) -> None:
    with closing(Database(sqlite_url)) as database, database.write() as transaction:
        token = new_key(transaction)
    client = TestClient(create_app(Settings(database_url=sqlite_url)))
    assert_problem(client.get("/metrics"), 401, "unauthorized")
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200


def test_a_scraper_gets_the_format_that_it_asks_for(sqlite_client: Client) -> None:
    plain = sqlite_client.get("/metrics")
    assert plain.headers.get_list("content-type") == ["text/plain; version=0.0.4; charset=utf-8"]
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.3"
    answer = sqlite_client.get("/metrics", headers={"Accept": accept})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = list(openmetrics.text_string_to_metric_families(answer.text))
    assert all(family.name.startswith("dropout_") and family.documentation for family in families)
    types = {family.name: family.type for family in families}
    assert types["dropout_http_request_duration_seconds"] == "histogram"
    assert types["dropout_job_queue_wait_seconds"] == "gaugehistogram"
    assert types["dropout_jobs"] == "gauge"


PROCESS = """
import json, sys
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from app.monitoring.instruments import Instruments

class Recorded(Collector):
    def collect(self):
        yield GaugeMetricFamily("dropout_database_up", "Up.", 1)

instruments = Instruments(collectors=[Recorded()], versions={"version": "1"})
instruments.predict_rows.observe(int(sys.argv[1]))
instruments.request_seconds.labels("GET", "/livez", "2xx").observe(0.5)
print(json.dumps(instruments.expose(None)[0].decode()))
"""


def test_any_process_answers_for_all_even_those_that_are_gone(tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "histogram_1.db").write_text("of a service that ran before")
    environment = os.environ | metrics.make_folder(tmp_path)
    answers = [
        subprocess.run(
            [sys.executable, "-c", PROCESS, str(num_rows)],
            env=environment,
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for num_rows in (3, 4)
    ]
    first, second = (samples_of(json.loads(answer)) for answer in answers)
    assert value(first, "dropout_predict_rows_sum") == 3
    assert value(second, "dropout_predict_rows_sum") == 7
    assert value(second, "dropout_predict_rows_bucket", le="5.0") == 2
    labels = {"method": "GET", "route": "/livez", "status": "2xx"}
    assert value(second, f"{REQUESTS}_count", **labels) == 2
    assert value(second, "dropout_database_up") == 1
    assert len(labels_of(second, "dropout_build_info")) == 1


def test_processes_of_a_service_share_their_numbers(service: Service) -> None:
    service.client.get("/livez")
    api = service.only("api")
    assert (service.data_dir / "metrics" / f"histogram_{api.pid}.db").is_file()


def test_what_is_asked_most_is_counted_by_its_template(sqlite_client: TestClient) -> None:
    sqlite_client.post("/v1/models/mdl_0/predict", json={})
    sqlite_client.post("/v2/models/mdl_0/infer", content=b"{}")
    told = sqlite_client.get("/metrics").text
    for route in ("/v1/models/{model_id}/predict", "/v2/models/{model}/infer"):
        assert f'route="{route}"' in told
