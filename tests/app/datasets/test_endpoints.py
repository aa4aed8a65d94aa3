from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from app.datasets import service
from dropout_core.data.read_options import MISSING_WORDS
from tests.support import tables
from tests.support.client import submit, upload
from tests.support.problems import assert_problem, stored
from tests.support.service import SETTINGS, Service

Client = httpx.Client

UNUSABLE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "header alone": (b"a,b\n", "no rows"),
    "ragged": (b"a,b\n1,2\n3\n", "row 2"),
    "an image": (b"\x89PNG\r\n\x1a\n\0\0\0", "an image"),
    "binary": (b"\x89binary\0\0\0", "binary"),
    "another encoding": ("größe\n1\n".encode("latin-1"), "UTF-8"),
    "no values": (b"a,b\n,\n,\n", "missing"),
    "object array": (tables.npz(a=np.array([1, None], dtype=object)), "pickles"),
    "arrays of two lengths": (tables.npz(a=np.ones(3), b=np.ones(4)), "length"),
    "broken archive": (tables.points()[:200], "NPZ"),
}


def post(client: Client, file: Any, **options: Any) -> httpx.Response:
    return client.post("/v1/datasets", files={"file": ("table.csv", file)}, **options)


def test_an_upload_answers_what_its_columns_are(sqlite_client: Client) -> None:
    dataset = upload(sqlite_client, b"size,kind\n1,a\n2,b\n,a\n", data={"name": "things"})
    size, kind = dataset["columns"]
    assert dataset["name"] == "things"
    assert (dataset["format"], dataset["num_rows"], dataset["size_bytes"]) == ("csv", 3, 21)
    assert (size["name"], size["type"], size["num_missing"], size["mean"]) == (
        *("size", "numeric", 1, 1.5),
    )
    assert (kind["name"], kind["type"], kind["num_distinct"]) == ("kind", "categorical", 2)


def test_an_upload_names_its_place(sqlite_client: Client) -> None:
    response = post(sqlite_client, tables.flowers())
    assert response.headers["location"] == f"/v1/datasets/{response.json()['id']}"
    assert sqlite_client.get(response.headers["location"]).json() == response.json()


def test_an_npz_is_known_by_its_content_and_not_its_name(sqlite_client: Client) -> None:
    dataset = post(sqlite_client, tables.points()).json()
    assert dataset["format"] == "npz"
    assert [column["name"] for column in dataset["columns"]] == ["x_0", "x_1", "y"]


def test_a_dataset_without_a_name_has_its_files(sqlite_client: Client) -> None:
    assert post(sqlite_client, b"a\n1\n").json()["name"] == "table.csv"


@pytest.mark.parametrize("flaw", UNUSABLE)
def test_an_unusable_file_is_refused_and_not_kept(
    live: Client, service: Service, flaw: str
) -> None:
    file, reason = UNUSABLE[flaw]
    before = stored(live, service.data_dir)
    detail = assert_problem(post(live, file), 422, "invalid_request", "/file")
    assert reason in detail
    assert stored(live, service.data_dir) == before


def test_a_file_is_read_as_its_owner_says(live: Client) -> None:
    table = "'1|2'|é\n-|ü\n7|-\n".encode("latin-1")
    options = {"delimiter": "|", "quote": "'", "encoding": "latin-1", "header": "false"}
    words = {"missing": ["-", "none"], "default_missing": "false"}
    answer = upload(live, table, data=options | words)
    assert answer["options"] == options | {
        "header": False,
        "missing": ["", "-", "none"],
        "lenient": [],
    }
    first, second = answer["columns"]
    assert (first["name"], first["type"], first["num_missing"]) == ("column_1", "categorical", 1)
    assert [top["value"] for top in second["top_values"]] == ["é", "ü"]
    unquoted = upload(live, b"a\tb\n'x\t1\n", data={"delimiter": "tab", "quote": "none"})
    assert unquoted["columns"][0]["top_values"] == [{"value": "'x", "count": 1}]


def test_numbers_dates_and_types_are_read_as_the_form_says(live: Client) -> None:
    table = b"from the till\n# in euros\nprice;day;zip\n1.234;2/3/24;10115\n5;4/3/24;80331\n"
    form = {
        "skip_rows": 1,
        "comment": "#",
        "decimal": "comma",
        "thousands": "point",
        "day_first": "true",
        "types": '{"zip": "categorical"}',
    }
    price, day, zip_code = upload(live, table, data=form)["columns"]
    assert (price["maximum"], price["format"]) == (
        1234,
        {"type": "number", "decimal": ",", "thousands": "."},
    )
    assert (day["latest"], day["format"]) == (
        "2024-03-04T00:00:00Z",
        {"type": "date", "pattern": "day first"},
    )
    assert (zip_code["type"], zip_code["stored_as"], zip_code.get("format")) == (
        *("categorical", "text", None),
    )


def test_what_was_found_out_and_changed_is_told(live: Client) -> None:
    answer = upload(live, b"a;a;b\n1;x;\n2;y;\n")
    assert answer["options"] == {
        "delimiter": ";",
        "quote": '"',
        "encoding": "utf-8",
        "header": True,
        "missing": list(MISSING_WORDS),
        "lenient": [],
    }
    assert [column["name"] for column in answer["columns"]] == ["a", "a_2"]
    assert ["'a_2'" in answer["warnings"][0], "'b'" in answer["warnings"][1]] == [True, True]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("delimiter", "ab"),
        ("quote", "x"),
        ("encoding", "klingon"),
        ("header", "perhaps"),
        ("default_missing", "perhaps"),
        ("missing", "x" * 2000),
        ("decimal", ";"),
        ("thousands", "_"),
        ("date_format", "DD/MM/YYYY"),
        ("day_first", "perhaps"),
        ("types", "{"),
        ("types", "[" * 5000),
        ("types", "[]"),
        ("types", '{"a": "number"}'),
        ("types", '{"b": "numeric"}'),
        ("skip_rows", "-1"),
        ("comment", "x" * 11),
    ],
)
def test_an_option_that_is_none_is_named(live: Client, field: str, value: str) -> None:
    response = post(live, b"a\n1\n", data={field: value})
    assert_problem(response, 422, "invalid_request", f"/{field}")


def test_separators_that_are_the_same_are_named(live: Client) -> None:
    response = post(live, b"a\n1\n", data={"decimal": ",", "thousands": ","})
    assert_problem(response, 422, "invalid_request", "/thousands")


def test_a_field_that_is_none_is_named(live: Client) -> None:
    response = post(live, b"a;b\n1;2\n", data={"delimeter": ";", "quote": "'"})
    detail = assert_problem(response, 422, "invalid_request", "/delimeter")
    assert "'delimeter': no such field; there are file, name, delimiter" in detail


def test_images_and_their_labels_are_one_table_in_any_order(live: Client) -> None:
    images, labels = tables.idx(np.arange(24).reshape(3, 2, 4)), tables.idx(np.array([7, 8, 7]))
    answers = []
    for files in ([images, labels], [labels, images]):
        response = live.post("/v1/datasets", files=[("file", ("idx", file)) for file in files])
        assert response.status_code == 201, response.text
        answers.append(response.json())
    assert answers[0]["columns"] == answers[1]["columns"]
    assert [column["name"] for column in answers[0]["columns"]][7:] == ["pixel_7", "label"]
    assert (answers[0]["format"], answers[0]["num_rows"]) == ("idx", 3)
    assert answers[0]["size_bytes"] == len(images) + len(labels)


@pytest.mark.parametrize("num_files", [2, 3])
def test_other_files_come_one_at_a_time(live: Client, num_files: int) -> None:
    files = [("file", ("table.csv", b"a\n1\n"))] * num_files
    response = live.post("/v1/datasets", files=files)
    assert_problem(response, 422, "invalid_request", "/file")


def in_pieces(num_bytes: int, *, form: bool) -> Iterator[bytes]:
    """A body without a declared length: part of a form, or nothing but spaces."""
    if form:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\na\n'
    for _ in range(num_bytes // 1000):
        yield b" " * 1000


def too_long_declared(client: Client) -> httpx.Response:
    return post(client, b"a\n" + b"1\n" * SETTINGS["max_upload_bytes"])


def too_long_streamed(client: Client) -> httpx.Response:
    body = in_pieces(2 * SETTINGS["max_upload_bytes"], form=True)
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    return client.post("/v1/datasets", content=body, headers=headers)


@pytest.mark.parametrize("send", [too_long_declared, too_long_streamed])
def test_a_file_over_the_limit_is_413_and_not_kept(
    live: Client, service: Any, send: Callable[[Client], httpx.Response]
) -> None:
    before = stored(live, service.data_dir)
    assert "bytes" in assert_problem(send(live), 413, "body_too_large")
    assert stored(live, service.data_dir) == before


def test_a_file_may_be_larger_than_other_bodies(sqlite_client: Client) -> None:
    table = b"a\n" + b"1\n" * (SETTINGS["max_request_bytes"] // 2 + 1)
    assert post(sqlite_client, table).status_code == 201


def test_an_archive_that_unpacks_beyond_the_limit_is_refused(sqlite_client: Client) -> None:
    file = tables.npz_compressed(a=np.zeros(SETTINGS["max_upload_bytes"]))
    assert "unpacks" in assert_problem(post(sqlite_client, file), 422, pointer="/file")


def test_a_form_is_needed(sqlite_client: Client) -> None:
    response = sqlite_client.post("/v1/datasets", json={"file": "a"})
    assert "multipart/form-data" in assert_problem(response, 415, "unsupported_media_type")


def test_a_form_without_a_file_is_refused(sqlite_client: Client) -> None:
    response = sqlite_client.post("/v1/datasets", files={"name": (None, "flowers")})
    assert_problem(response, 422, "invalid_request", "/file")


def test_a_form_that_is_none_is_refused(sqlite_client: Client) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert_problem(sqlite_client.post("/v1/datasets", content=b"no form", headers=headers), 400)


@pytest.mark.parametrize("name", ["n" * 201, "a\0b"])
def test_a_name_has_to_be_one(sqlite_client: Client, name: str) -> None:
    response = post(sqlite_client, b"a\n1\n", data={"name": name})
    assert_problem(response, 422, "invalid_request", "/name")


def test_a_deleted_dataset_is_gone_with_its_files(client: Client, tmp_path: Path) -> None:
    before = stored(client, tmp_path)
    path = f"/v1/datasets/{upload(client, tables.flowers())['id']}"
    response = client.delete(path)
    assert (response.status_code, response.content) == (204, b"")
    assert_problem(client.get(path), 404, "dataset_not_found")
    assert_problem(client.delete(path), 404, "dataset_not_found")
    assert stored(client, tmp_path) == before


def test_a_dataset_that_a_job_needs_stays(client: Client) -> None:
    dataset = upload(client, tables.flowers())
    job = submit(client, dataset["id"], "label")
    path = f"/v1/datasets/{dataset['id']}"
    assert job["id"] in assert_problem(client.delete(path), 409, "dataset_in_use")
    assert client.get(path).json() == dataset
    client.post(f"/v1/jobs/{job['id']}/cancel")
    assert client.delete(path).status_code == 204


def test_a_list_shows_every_dataset_once_newest_first(client: Client) -> None:
    ids = [upload(client, b"a\n1\n")["id"] for _ in range(5)]
    found, after = [], None
    for more in (True, True, False):
        params = {"limit": 2} | ({} if after is None else {"after": after})
        page = client.get("/v1/datasets", params=params).json()
        found += [dataset["id"] for dataset in page["data"]]
        assert [dataset["columns"] for dataset in page["data"]] == [None] * len(page["data"])
        after = page["last_id"]
        assert page["has_more"] is more
        assert after == found[-1]
    assert found == sorted(ids, reverse=True)


def test_rows_are_shown_as_they_were_understood(client: Client) -> None:
    cells = "n,word,day,yes\n1,NA,2024-02-01,true\n2.5," + "x" * 300 + ",,false\n"
    dataset = upload(client, cells.encode())
    path = f"/v1/datasets/{dataset['id']}/rows"
    rows = client.get(path).json()
    assert rows == {
        "columns": ["n", "word", "day", "yes"],
        "rows": [
            [1.0, None, "2024-02-01T00:00:00Z", True],
            [2.5, "x" * 200 + "...", None, False],
        ],
        "offset": 0,
        "num_rows": 2,
        "has_more": False,
    }
    first = client.get(path, params={"limit": 1}).json()
    assert (first["rows"], first["has_more"]) == (rows["rows"][:1], True)
    second = client.get(path, params={"limit": 1, "offset": 1}).json()
    assert (second["rows"], second["has_more"]) == (rows["rows"][1:], False)
    assert client.get(path, params={"offset": 10**9}).json()["rows"] == []


def test_a_page_of_a_wide_table_has_few_rows(
    sqlite_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_MAX_CELLS", 5)
    dataset = upload(sqlite_client, b"a,b\n" + b"1,2\n" * 9)
    answer = sqlite_client.get(f"/v1/datasets/{dataset['id']}/rows").json()
    assert (len(answer["rows"]), answer["has_more"]) == (2, True)


def test_an_empty_list_is_one(client: Client) -> None:
    answer = client.get("/v1/datasets").json()
    assert answer == {"data": [], "has_more": False, "last_id": None}
