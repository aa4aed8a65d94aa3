"""Calls to a service over HTTP, for the commands that are its clients."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
import typer

from app.cli.terminal import fail, say

ADDRESS = "http://127.0.0.1:8000"
TIMEOUT_SECONDS = 60.0

Url = Annotated[str, typer.Option(envvar="DROPOUT_URL", help="The address of the service.")]
Key = Annotated[
    str | None,
    typer.Option(
        envvar="DROPOUT_API_KEY", show_envvar=True, help="An API key, if the service has keys."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the service's answer as JSON.")]


@dataclass(frozen=True)
class Service:
    """A service that is called. Its refusals end the command with one line and exit code 1."""

    client: httpx.Client

    def get(self, path: str, **parameters: Any) -> Any:
        asked = {name: value for name, value in parameters.items() if value is not None}
        return self._answer("GET", path, params=asked)

    def post(self, path: str, body: Any = None, **parameters: Any) -> Any:
        return self._answer("POST", path, json=body or {}, params=parameters)

    def delete(self, path: str) -> None:
        self._answer("DELETE", path)

    def _answer(self, method: str, path: str, **request: Any) -> Any:
        response = self.client.request(method, path, **request)
        if response.is_error:
            fail(_refusal(response))
        return response.json() if response.content else None


@contextmanager
def calling(url: str, key: str | None) -> Iterator[Service]:
    """Call the service in this block. One that does not answer ends the command with one line."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    try:
        with httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_SECONDS) as client:
            yield Service(client)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        fail(f"no answer from {url}: {error or type(error).__name__}; is it the right --url?")
    except UnicodeEncodeError:
        fail("the key has characters that no key has")


def _refusal(response: httpx.Response) -> str:
    """Return what a problem says, and where in the request it is."""
    try:
        problem = response.json()
        detail = str(problem["detail"])
        pointers = [str(flaw["pointer"]) for flaw in problem["errors"]]
    except (ValueError, KeyError, TypeError):
        return f"{response.url} answered {response.status_code}"
    where = ", ".join(pointer for pointer in pointers if pointer and pointer not in detail)
    return f"{where}: {detail}" if where else detail


def read_body(path: str) -> Any:
    """Return the JSON of a file, or of standard input for `-`. Raises BadParameter."""
    try:
        if path == "-":
            return json.load(sys.stdin)
        with open(path) as file:  # noqa: PTH123 - a str is at hand
            return json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{path}: {error}") from error


def print_json(answer: Any) -> None:
    say(json.dumps(answer, indent=2, ensure_ascii=False))
