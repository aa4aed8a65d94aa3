"""The readiness of the service's parts, answered in time even if a part hangs."""

import asyncio
from collections.abc import Callable

import structlog
from anyio import CapacityLimiter, to_thread
from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError

from app.monitoring.disk import MIN_FREE_BYTES, Disk
from store.artifacts.artifact_store import ArtifactStore
from store.database.engine import Database

# A probe waits for a second by default, in Kubernetes, and Redis must never fail it.
REDIS_SECONDS = 0.5
CHECK_SECONDS = 3

log = structlog.get_logger()


class Readiness:
    """Check the database, the storage, the disk and Redis; probes at one time share one check.

    It has its own threads: requests to a database that hangs may occupy all others.
    """

    def __init__(
        self,
        database: Database,
        artifacts: ArtifactStore,
        *,
        disk: Disk,
        redis_url: SecretStr | None,
    ) -> None:
        self._checks: dict[str, Callable[[], str]] = {
            "database": lambda: _check_database(database),
            "storage": lambda: _check_storage(artifacts),
            "disk": lambda: _check_disk(disk),
            "redis": lambda: _check_redis(redis_url),
        }
        self._running: dict[str, asyncio.Task[str]] = {}
        self._threads = CapacityLimiter(len(self._checks))

    async def look(self) -> dict[str, str]:
        """Return each part's state: `ok`, `not used`, or `failed`, also for no answer in time."""
        tasks = {part: self._start(part) for part in self._checks}
        await asyncio.wait(tasks.values(), timeout=CHECK_SECONDS)
        return {part: task.result() if task.done() else "failed" for part, task in tasks.items()}

    def _start(self, part: str) -> asyncio.Task[str]:
        """Return the check that is running, or start one."""
        task = self._running.get(part)
        if task is None or task.done():
            check = to_thread.run_sync(
                self._checks[part], abandon_on_cancel=True, limiter=self._threads
            )
            task = self._running[part] = asyncio.ensure_future(check)
        return task


def _check_database(database: Database) -> str:
    try:
        database.ping()
    except SQLAlchemyError:
        log.warning("the database does not answer")
        return "failed"
    return "ok"


def _check_storage(artifacts: ArtifactStore) -> str:
    try:
        artifacts.require_writable()
    except OSError as error:
        log.warning("the artifact storage cannot be written", error=str(error))
        return "failed"
    return "ok"


def _check_disk(disk: Disk) -> str:
    try:
        free_bytes = disk.free_bytes()
    except OSError as error:
        log.warning("the disk cannot be asked for its space", error=str(error))
        return "failed"
    if free_bytes < MIN_FREE_BYTES:
        log.warning("the disk is full", free_bytes=free_bytes)
        return "failed"
    return "ok"


def _check_redis(url: SecretStr | None) -> str:
    if url is None:
        return "not used"
    import redis  # not needed by the embedded service

    client = redis.Redis.from_url(
        url.get_secret_value(),
        socket_connect_timeout=REDIS_SECONDS,
        socket_timeout=REDIS_SECONDS,
    )
    try:
        client.ping()
    except redis.RedisError:
        return "failed"
    finally:
        client.close()
    return "ok"
