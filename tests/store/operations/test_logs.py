import io
import json
import subprocess
import sys
from typing import Any

import pytest

from store.operations import logs
from store.operations.logs import mask_secrets

SECRET = "hunter2"

WAYS_TO_SPEAK = f"""
import logging, threading, warnings
import structlog
from structlog.contextvars import bound_contextvars
from store.operations.logs import configure_logging

configure_logging()
log = structlog.get_logger()
URL = "postgresql://me:{SECRET}@db:5432/x"
with bound_contextvars(job="job_1", attempt=2):
    log.info("ours", url=URL, nested={{"urls": [URL]}}, error=ValueError(URL))
    logging.getLogger("celery.worker").error("cannot reach %s", "redis://:{SECRET}@cache/0")
logging.getLogger("library").info("of no weight")
warnings.warn("Authorization: Bearer {SECRET}")
try:
    raise ConnectionError(URL)
except ConnectionError:
    log.exception("caught")
def fail():
    raise ConnectionError(URL)
thread = threading.Thread(target=fail, name="a-thread")
thread.start()
thread.join()
fail()
"""


def lines_of(script: str) -> list[dict[str, Any]]:
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert SECRET not in ended.stderr
    return [json.loads(line) for line in ended.stderr.splitlines()]


def test_whoever_speaks_it_is_json_of_one_shape_without_secrets() -> None:
    lines = lines_of(WAYS_TO_SPEAK)
    assert all({"event", "level", "timestamp"} <= line.keys() for line in lines)
    ours, library, warning, caught, in_thread, uncaught = lines
    assert ours["nested"] == {"urls": ["postgresql://me:***@db:5432/x"]}
    assert (ours["job"], ours["attempt"]) == (library["job"], library["attempt"]) == ("job_1", 2)
    assert (library["logger"], library["level"]) == ("celery.worker", "error")
    assert library["event"] == "cannot reach redis://:***@cache/0"
    assert warning["logger"] == "py.warnings"
    assert "job" not in warning
    for line in (caught, in_thread, uncaught):
        assert line["exception"].endswith("ConnectionError: postgresql://me:***@db:5432/x")
    assert in_thread["thread"] == "a-thread"
    assert (in_thread["level"], uncaught["level"]) == ("critical", "critical")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("redis://:a:b/c@host:6379/0 is away", "redis://:***@host:6379/0 is away"),
        ("postgresql+psycopg://me:p@ss@db/x", "postgresql+psycopg://me:***@db/x"),
        ("http://127.0.0.1:8000/v1/jobs", "http://127.0.0.1:8000/v1/jobs"),
        ("http://host:80/x and me@example.org", "http://host:80/x and me@example.org"),
        ("{'authorization': 'Basic Zm9vOmJhcg=='}", "{'authorization': 'Basic ***'}"),
        ("host=db password=abc dbname=x", "host=db password=*** dbname=x"),
        ("postgresql://me@db/x?password=abc&y=1", "postgresql://me@db/x?password=***&y=1"),
        ("password authentication failed", "password authentication failed"),
    ],
)
def test_secrets_are_blotted_out_and_nothing_else(text: str, told: str) -> None:
    assert mask_secrets(text) == told


def test_a_line_and_its_end_are_one_write() -> None:
    """Of processes that share a file unbuffered, one could write between the two."""
    written: list[str] = []

    class Recorder(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

    logs._Writer(Recorder()).msg("a line")
    assert written == ["a line\n"]
