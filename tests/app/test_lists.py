"""What all lists have in common: cursors, filters and order."""

from typing import Any

import pytest

from tests.support import tables
from tests.support.client import submit, upload
from tests.support.in_process import TestClient, context_of
from tests.support.named_models import new_version
from tests.support.problems import assert_problem

LISTS = {"datasets": "ds", "jobs": "job", "sweeps": "swp", "models": "mdl", "names": ""}


def ids_of(client: TestClient, kind: str, **query: Any) -> list[str]:
    answer = client.get(f"/v1/{kind}", params=query)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["data"]]


def test_a_cursor_is_what_a_page_has_ended_with(sqlite_client: TestClient) -> None:
    for kind, prefix in LISTS.items():
        own = f"{prefix}_01m7zdd8sepms0972m7vr930g6" if prefix else "flowers"  # of nothing, now
        answer = sqlite_client.get(f"/v1/{kind}", params={"after": own})
        assert answer.json() == {"data": [], "has_more": False, "last_id": None}
        wrong = ["", "a/b", "\0"]
        if prefix:
            other = own.replace(prefix, "key")
            wrong += ["zzz-no-id", own[:-1], own + "0", own.upper(), own[:-1] + "u", f"{own}\n"]
            wrong += [other, f" {own}", "0"]
        for cursor in wrong:
            refused = sqlite_client.get(f"/v1/{kind}", params={"after": cursor})
            assert_problem(refused, 422, "invalid_request", "after")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", ""),
        ("name", "a\0b"),
        ("order", "DESC"),
        ("order", ""),
        ("created_after", ""),
        ("created_after", "yesterday"),
        ("created_after", "2026-05-01T12:00:00"),  # of which place?
        ("limit", "0"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused(
    sqlite_client: TestClient, name: str, value: str
) -> None:
    for kind in ("datasets", "jobs", "sweeps", "models"):
        refused = sqlite_client.get(f"/v1/{kind}", params={name: value})
        assert_problem(refused, 422, "invalid_request", name)


def test_lists_are_filtered_and_sorted(sqlite_client: TestClient) -> None:
    made: dict[str, list[str]] = {
        "datasets": [
            upload(sqlite_client, tables.flowers(), data={"name": name})["id"]
            for name in ("a", "b", "a")
        ]
    }
    first, second, _ = made["datasets"]
    made["jobs"] = [
        submit(sqlite_client, dataset, "label", name=name)["id"]
        for dataset, name in ((first, "a"), (second, "b"), (first, "a"))
    ]
    of_dataset = {"dataset": {"id": first, "target": "label"}}
    space = {"/training/seed": {"choice": [1]}}
    made["sweeps"] = [
        sqlite_client.post(
            "/v1/sweeps", json={"name": name, "job": of_dataset, "space": space}
        ).json()["id"]
        for name in ("a", "b", "a")
    ]
    made["models"] = [new_version(sqlite_client, name).id for name in ("a", "b", "a")]
    for kind, ids in made.items():
        assert ids_of(sqlite_client, kind) == ids[::-1]
        assert ids_of(sqlite_client, kind, order="asc") == ids
        assert ids_of(sqlite_client, kind, order="asc", after=ids[0], limit=1) == ids[1:2]
        assert ids_of(sqlite_client, kind, name="a") == [ids[2], ids[0]]
        assert ids_of(sqlite_client, kind, name="a", after=ids[2], limit=1) == ids[:1]
        assert ids_of(sqlite_client, kind, name="c") == []
        times = [item["created_at"] for item in sqlite_client.get(f"/v1/{kind}").json()["data"]]
        later = [id_ for id_, time in zip(ids[::-1], times, strict=True) if time > times[-1]]
        assert ids_of(sqlite_client, kind, created_after=times[-1]) == later
        assert ids_of(sqlite_client, kind, created_after="1970-01-01T00:00:00+01:00") == ids[::-1]
        assert ids_of(sqlite_client, kind, created_after="9999-12-31T23:59:59.9999Z") == []
    jobs = made["jobs"]
    assert ids_of(sqlite_client, "jobs", dataset=first) == [jobs[2], jobs[0]]
    assert ids_of(sqlite_client, "jobs", dataset=first, state="running") == []
    assert ids_of(sqlite_client, "sweeps", dataset=first, state="running") == made["sweeps"][::-1]
    assert ids_of(sqlite_client, "sweeps", dataset=second) == []
    assert ids_of(sqlite_client, "jobs", sweep=made["sweeps"][0]) == []
    for parameter in ("dataset", "sweep"):
        refused = sqlite_client.get("/v1/jobs", params={parameter: "flowers.csv"})
        assert_problem(refused, 422, "invalid_request", parameter)


def test_what_is_created_after_a_time_is_later_by_what_answers_tell(
    sqlite_client: TestClient,
) -> None:
    """An item is not created after its own time, and whoever asks again misses none."""
    dataset = upload(sqlite_client, tables.flowers())
    database = context_of(sqlite_client).database
    for created_at in ("1700000000.122999999", "1700000000.1230", "1700000000.12399"):
        with database.write() as transaction:
            transaction.exec_driver_sql(f"UPDATE datasets SET created_at = {created_at}")
        told = sqlite_client.get(f"/v1/datasets/{dataset['id']}").json()["created_at"]
        assert told == "2023-11-14T22:13:20.123Z"
        assert ids_of(sqlite_client, "datasets", created_after=told) == []
        before = told.replace(".123", ".122")
        assert ids_of(sqlite_client, "datasets", created_after=before) == [dataset["id"]]
