import asyncio
from pathlib import Path

import pytest
from starlette.types import Message, Receive, Scope, Send

from app.http.answers import MAX_BYTES_IN_MEMORY, answer, download, preferred
from tests.support.in_process import TestClient

OFFERS = ["text/csv", "application/vnd.apache.parquet"]
CSV, PARQUET = OFFERS


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, CSV),
        ("", CSV),
        (" , ", CSV),
        ("*/*", CSV),
        ("text/csv", CSV),
        ("text/*", CSV),
        ("Text/CSV; header=present", CSV),
        (PARQUET, PARQUET),
        ("application/*", PARQUET),
        (f"{PARQUET}, */*", PARQUET),
        (f"{PARQUET};q=0.5, */*", CSV),
        (f"{PARQUET};q=0.5, text/*;q=0.1", PARQUET),
        ("text/csv;q=0, */*", PARQUET),
        ("text/html, application/json, */*;q=0.1", CSV),
        ("application/json", None),
        ("text/csv;q=0", None),
        ("text/csv;q=much", None),
        ("*/*;q=0", None),
        ("application/json, */*;q=0", None),
        (f'text/csv;x="a, {PARQUET}";q=0.5, {PARQUET};q=0.4', CSV),
        (f'a/b;x=", {PARQUET}, ", text/csv', CSV),
        (f'a/b;x="\\", {PARQUET}, ", text/csv;q="0.5;"', None),
        (f'a/b;x="not closed, {PARQUET}', None),
        ('a/b;x="\\', None),
    ],
)
def test_what_a_client_would_rather_have_is_chosen(accept: str | None, chosen: str | None) -> None:
    assert preferred(accept, OFFERS) == chosen


@pytest.mark.parametrize("size", [0, MAX_BYTES_IN_MEMORY, 3 * MAX_BYTES_IN_MEMORY])
@pytest.mark.parametrize("scratch", ["scratch", "file/in/the/way"])
def test_an_answer_is_the_same_from_memory_and_from_a_file(
    tmp_path: Path, size: int, scratch: str
) -> None:
    (tmp_path / "file").touch()
    content = bytes(range(256)) * (size // 256)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = {"Vary": "Accept"}
        media_type = "application/json"
        response = answer(
            content, scratch=tmp_path / scratch, media_type=media_type, headers=headers
        )
        await response(scope, receive, send)

    got = TestClient(app).get("/")
    assert got.content == content
    assert got.headers["content-length"] == str(len(content))
    assert (got.headers["content-type"], got.headers["vary"]) == ("application/json", "Accept")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "file"]


def test_a_file_is_closed_when_its_client_goes(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(2_000_000))
    response = download(path, filename="large", media_type="application/zip")
    path.unlink()

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_: Message) -> None:
        await asyncio.Future()  # the client does not read

    scope = {"type": "http", "method": "GET", "asgi": {"spec_version": "2.3"}}
    before = open_files()
    asyncio.run(response(scope, receive, send))
    assert open_files() < before


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
