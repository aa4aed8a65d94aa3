"""A Celery worker whose broker sends again, after a second, what was not acknowledged."""

from typing import Any

from celery import Celery

from worker import __main__ as roles
from worker.broker import celery_app

VISIBILITY: dict[str, Any] = {
    "visibility_timeout": 1,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
}


def create_celery(settings: Any) -> Celery:
    app = celery_app.create_celery(settings)
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, **VISIBILITY}
    return app


if __name__ == "__main__":
    roles.create_celery = create_celery
    roles.configure_logging()
    roles.run_celery(queues="cpu")
