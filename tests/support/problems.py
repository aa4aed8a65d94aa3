"""Assertions on errors, and on what the service has stored."""

import subprocess
from pathlib import Path
from typing import Any

import httpx


def assert_problem(
    response: httpx.Response, status: int, code: str | None = None, pointer: str | None = None
) -> str:
    """Check that the answer is a problem of RFC 9457 with this status; return its detail."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem.keys() == {"type", "title", "status", "detail", "code", "errors"}
    assert problem["status"] == status
    assert problem["detail"]
    assert "Traceback" not in response.text
    if code is not None:
        assert problem["code"] == code
    if pointer is not None:
        assert [flaw["pointer"] for flaw in problem["errors"]] == [pointer]
    detail: str = problem["detail"]
    return detail


def assert_error(
    response: httpx.Response, status: int, code: str | None = None, *, path: str | None = None
) -> str:
    """Check that the answer is such an error, as its path has errors; its text.

    Under `/v2` they are those of the Open Inference Protocol, elsewhere problems. Give the `path`
    of a response that knows no request.
    """
    path = response.request.url.path if path is None else path
    if not f"{path}/".startswith("/v2/"):
        return assert_problem(response, status, code)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert "content-encoding" not in response.headers
    error: dict[str, str] = response.json()
    assert error.keys() == {"error", "code"}
    assert error["error"]
    assert "Traceback" not in response.text
    assert code is None or error["code"] == code
    return error["error"]


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Check that a command has failed and printed one line alone, with these words in it."""
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line


def stored(client: httpx.Client, data_dir: Path) -> list[Any]:
    """Return all that the service has stored: its lists, and its files but for the database."""
    lists = [client.get(f"/v1/{kind}").json() for kind in ("datasets", "jobs", "models")]
    files = [path for path in data_dir.rglob("*") if path.is_file()]
    return [*lists, sorted(path for path in files if not path.name.startswith("dropout.db"))]
