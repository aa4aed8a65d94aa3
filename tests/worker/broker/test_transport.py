import json
from base64 import b64encode
from typing import Any

import pytest

from worker.broker.celery_app import SUPERVISE
from worker.broker.transport import job_id_of, message_of

MESSAGE: dict[str, Any] = json.loads(message_of("job_1", queue="cpu"))


def encoded(value: object) -> str:
    return b64encode(json.dumps(value).encode()).decode()


def test_a_message_carries_the_id_of_a_job() -> None:
    assert job_id_of(message_of("job_01m3a", queue="gpu")) == "job_01m3a"


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"no JSON", b"\xff", b"[]", b"null", b"1", b'"text"', b"{}", b"[" * 50_000),
        *(b'{"headers": []}', b'{"headers": {"task": []}}'),
        message_of("job_1", queue="cpu") + b" " * 100_000,
    ],
    ids=lambda content: content[:20].decode(errors="replace"),
)
def test_what_is_no_message_is_known(content: bytes) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, RecursionError)):
        job_id_of(content)


@pytest.mark.parametrize(
    "change",
    [
        {"headers": {"task": "celery.backend_cleanup"}},
        {"headers": {"task": {"supervise": 1}}},
        *({"body": body} for body in (None, 1, "%", "", "e30=", encoded([]), encoded([["a"]]))),
        {"body": encoded([[["job_1"]], {}, {}])},
        {"body": encoded([["job_1", "job_2"], {}, {}])},
        {"body": encoded([["job_\0"], {}, {}])},
    ],
    ids=str,
)
def test_a_message_of_another_kind_is_known(change: dict[str, Any]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError, RecursionError)):
        job_id_of(json.dumps(MESSAGE | change).encode())


def test_only_the_id_of_a_message_reaches_celery() -> None:
    """Times, retries and tags of a message can be wrong too, and Celery would read them."""
    odd = {"headers": {"task": SUPERVISE, "eta": [], "timelimit": "x"}, "properties": None}
    assert job_id_of(json.dumps(MESSAGE | odd).encode()) == "job_1"
