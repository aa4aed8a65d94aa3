from pathlib import Path

import httpx

from app.main import create_app
from store.settings import Settings
from tests.support.in_process import TestClient
from tests.support.metrics import scrape, value
from tests.support.problems import assert_problem
from tests.support.servers import PostgresServer, RedisServer
from tests.support.small_disks import MiB, small_disk
from tests.support.stored_databases import load
from tests.support.waiting import wait_until

Client = httpx.Client


def test_a_service_that_can_work_is_ready(client: Client) -> None:
    assert client.get("/livez").json() == {"status": "ok"}
    response = client.get("/readyz")
    assert response.status_code == 200
    checks = {"database": "ok", "storage": "ok", "disk": "ok", "redis": "not used"}
    assert response.json() == {"ready": True, "checks": checks}


def test_a_database_that_is_down_is_503_until_it_is_back(
    own_postgresql: PostgresServer, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path, database_url=own_postgresql.url)
    job = {"dataset": {"id": "ds_0", "target": "y"}}
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        assert client.get("/readyz").status_code == 200
        own_postgresql.stop()
        for response in (
            client.get("/v1/jobs"),
            client.get("/v1/jobs/job_0/events", headers={"Accept": "text/event-stream"}),
            client.post("/v1/jobs", json=job),
            client.post("/v1/jobs", json=job, headers={"Idempotency-Key": "one"}),
            client.post("/v1/datasets", files={"file": b"a\n1\n"}),
        ):
            assert_problem(response, 503, "database_unavailable")
            assert int(response.headers["retry-after"]) > 0
        assert client.get("/livez").status_code == 200
        response = client.get("/readyz")
        assert (response.status_code, response.json()["ready"]) == (503, False)
        assert response.json()["checks"]["database"] == "failed"
        own_postgresql.start()
        wait_until(lambda: client.get("/readyz").status_code == 200)
        assert client.get("/v1/datasets").json()["data"] == []
        assert client.post("/v1/datasets", files={"file": b"a\n1\n"}).status_code == 201


def test_an_upload_that_the_database_did_not_take_leaves_no_file(
    own_postgresql: PostgresServer, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path, database_url=own_postgresql.url)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        own_postgresql.stop()
        response = client.post("/v1/datasets", files={"file": b"a\n1\n"})
        assert_problem(response, 503, "database_unavailable")
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_an_older_release_stored_is_still_answered(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    load("0001", settings.database)
    with TestClient(create_app(settings)) as client:
        dataset, job, model = (
            client.get(f"/v1/{kind}").json()["data"][0] for kind in ("datasets", "jobs", "models")
        )
        assert (dataset["options"], dataset["warnings"], job["warnings"]) == ({}, [], [])
        assert (model["target"], model["features"]) == ("label", ["length", "petals", "wild"])
        body = job["resolved_config"] | {"training": {"epochs": 1}}
        assert client.post("/v1/jobs", json=body).status_code == 202


def test_a_storage_that_cannot_be_written_is_not_ready(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("a file where a folder has to be")
    settings = Settings(data_dir=tmp_path, database_url=sqlite_url)
    with TestClient(create_app(settings)) as client:
        response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["checks"] == {
        "database": "ok",
        "storage": "failed",
        "disk": "ok",
        "redis": "not used",
    }


def test_a_full_disk_is_not_ready_and_its_space_is_a_metric(
    sqlite_url: str, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", size_bytes=4 * MiB, num_files=1000) as disk:
        settings = Settings(data_dir=disk.folder / "data", database_url=sqlite_url)
        with TestClient(create_app(settings)) as client:
            assert client.get("/readyz").status_code == 200
            assert value(scrape(client), "dropout_disk_free_bytes") > 0
            disk.fill()
            assert_disk_not_ready(client)
            assert client.get("/v2/health/ready").status_code == 200  # predictions go on
            disk.free()
            disk.use_up_names()
            assert_disk_not_ready(client)


def assert_disk_not_ready(client: Client) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    assert answer.json()["checks"]["disk"] == "failed"
    assert value(scrape(client), "dropout_disk_free_bytes") == 0


def test_a_redis_that_is_down_is_told_and_stops_nothing(
    own_redis: RedisServer, sqlite_url: str, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path, database_url=sqlite_url, redis_url=own_redis.url)
    with TestClient(create_app(settings)) as client:
        assert client.get("/readyz").json()["checks"]["redis"] == "ok"
        own_redis.stop()
        response = client.get("/readyz")
        assert response.json()["checks"]["redis"] == "failed"
        assert response.status_code == 200
