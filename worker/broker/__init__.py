"""The scaled-out worker: Celery over Redis, and the dispatcher that sends its messages."""
