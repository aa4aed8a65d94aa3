"""Redis as kombu's transport, but no message can end its worker.

Whoever can write to Redis can send anything: no JSON, `null`, wrong headers, half a gigabyte. kombu
and Celery read a message before they know that it is one, and end the worker with the error. So
this transport takes only the job's id from a message, and makes the message that Celery reads.
"""

import json
import re
from base64 import b64decode, b64encode
from queue import Empty
from typing import Any
from uuid import uuid4

import structlog
from kombu.exceptions import InconsistencyError
from kombu.transport import redis as kombu_redis
from redis import RedisError

from worker.broker.celery_app import QUEUES, SUPERVISE

_MAX_BYTES = 64 * 1024  # a message of a dispatcher has about one kilobyte
_JOB_ID = re.compile(r"job_[0-9a-z]{1,100}")
_BROKER_ERRORS = (RedisError, OSError, InconsistencyError, Empty)

log = structlog.get_logger()


class Channel(kombu_redis.Channel):
    """kombu's channel; messages that cannot be used are dropped with a line in the log."""

    def _create_client(self, asynchronous: bool = False) -> Any:
        client = super()._create_client(asynchronous)  # type: ignore[no-untyped-call]
        client.set_response_callback("BRPOP", _only_usable)
        return client

    def _receive_one(self, c: Any) -> Any:
        """Receive a message to all workers, such as the ping of a health check."""
        try:
            return super()._receive_one(c)  # type: ignore[no-untyped-call]
        except _BROKER_ERRORS:
            raise
        except Exception as error:
            _drop("all workers", error)
            raise Empty from error


class Transport(kombu_redis.Transport):
    Channel = Channel


def job_id_of(content: bytes) -> str:
    """Return the job's id in a message of the dispatcher.

    Raises ValueError, KeyError, TypeError or RecursionError for any other content.
    """
    if len(content) > _MAX_BYTES:
        raise ValueError(f"it has {len(content)} bytes")
    envelope = json.loads(content)
    if envelope["headers"]["task"] != SUPERVISE:
        raise ValueError("it names another task")
    [job_id], *_ = json.loads(b64decode(envelope["body"]))
    if not _JOB_ID.fullmatch(job_id):
        raise ValueError("it holds no job's id")
    return str(job_id)


def message_of(job_id: str, *, queue: str) -> bytes:
    """Return a message that Celery can read: all that the worker needs is the id."""
    arguments = json.dumps([[job_id], {}, {}]).encode()
    message = {
        "body": b64encode(arguments).decode(),
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"lang": "py", "task": SUPERVISE, "id": str(uuid4())},
        "properties": {
            "delivery_tag": str(uuid4()),
            "delivery_info": {"exchange": "", "routing_key": queue},
            "body_encoding": "base64",
        },
    }
    return json.dumps(message).encode()


def _only_usable(answer: Any, **_: Any) -> tuple[bytes, bytes] | None:
    """Return the queue's name and message of Redis' answer; None if there is none to use."""
    if not answer:
        return None
    key, content = answer
    queue = key.decode(errors="replace").partition("\x06")[0]  # kombu adds the priority
    if queue not in QUEUES:  # an answer to this process
        return key, content
    try:
        return key, message_of(job_id_of(content), queue=queue)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        _drop(queue, error)
        return None


def _drop(queue: str, error: Exception) -> None:
    # Without the message itself, which can be large and hold anything.
    reason = f"{type(error).__name__}: {error}"[:200]
    log.warning("dropped a message that is no job's", queue=queue, error=reason)
