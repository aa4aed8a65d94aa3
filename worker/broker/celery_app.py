"""The delivery policy: Celery over Redis, whose messages are hints and do not own jobs."""

from typing import TYPE_CHECKING

from store.settings import REDIS_SCHEMES, Settings

if TYPE_CHECKING:
    from celery import Celery

QUEUES = ("cpu", "gpu")
SUPERVISE = "supervise"

_CONNECT_SECONDS = 2
_SOCKET_SECONDS = 5  # for a command; workers wait for messages without this limit
_HEALTH_SECONDS = 10  # a worker that hears nothing for twice as long reconnects


def create_celery(settings: Settings) -> "Celery":
    """Return a Celery app for the broker of `settings`. Raises ValueError without a broker."""
    if settings.redis_url is None:
        raise ValueError("DROPOUT_REDIS_URL is not set: this role needs the broker")
    from celery import Celery  # the embedded service runs without it
    from kombu.transport import TRANSPORT_ALIASES

    # Under kombu's own names, which its log lines have.
    for scheme in REDIS_SCHEMES:
        TRANSPORT_ALIASES[scheme] = "worker.broker.transport:Transport"

    app = Celery("dropout-service", broker=settings.redis_url.get_secret_value(), backend=None)
    app.conf.update(
        # The row owns the job, so a message is done once it arrives. Redis would send a message
        # that is acknowledged late again after an hour.
        task_acks_late=False,
        task_ignore_result=True,
        # A worker takes only messages that it can act on now.
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue="cpu",
        # Workers never stop trying to reach an unavailable broker, nor one that refuses commands,
        # such as a replica that is about to become the primary.
        broker_channel_error_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_connect_timeout": _CONNECT_SECONDS,
            "socket_timeout": _SOCKET_SECONDS,
            "socket_keepalive": True,
            "health_check_interval": _HEALTH_SECONDS,
        },
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        enable_utc=True,
    )
    return app
