"""One job of an attempt: its claim, and what is asked of it. Does not import torch."""

import time

from sqlalchemy import Connection as Transaction

from store import jobs
from store.jobs import Asked, Claim, Job
from store.settings import Settings
from worker.messages import Order


class Member:
    """A claimed job, until `over` holds it as its attempt left it, or its lease is lost."""

    def __init__(self, job: Job, settings: Settings, *, paused_seconds: float = 0.0) -> None:
        self.job = job
        self.claim = Claim(job.id, job.attempt)
        self.is_over = False
        self.over: Job | None = None  # None if the lease is lost
        self.ordered_at: float | None = None
        self._settings = settings
        self._finish_at = self._deadline(paused_seconds)
        self._keeps_model = False  # of a job that is cancelled
        self._is_to_pause = False
        self._requeued_for = "released"

    def end(self, over: Job | None) -> None:
        self.is_over, self.over = True, over

    @property
    def outcome(self) -> tuple[str, str]:
        """Return the state after the attempt, or `lost`; and the reason of it or of the requeue."""
        if self.over is None:
            return "lost", "lease_lost"
        return self.over.state, self.over.state_reason or self._requeued_for

    def may_go_on(self, asked: Asked) -> bool:
        """Take over what is asked of the job, and return whether its trainer may go on.

        That of a cancelled job may if it has a model to keep.
        """
        self._keeps_model = asked.keep_model and asked.epochs_completed > 0
        self._is_to_pause = asked.pause_requested
        return asked.state != "cancelling" or self._keeps_model

    def due_order(self, *, is_draining: bool) -> Order | None:
        """Return what the trainer has to do with the job now, if it is not to go on."""
        if self._keeps_model:
            return "finish_now"
        if is_draining or self._is_to_pause:
            return "checkpoint_and_stop"
        if self._finish_at is not None and time.monotonic() >= self._finish_at:
            return "finish_now" if self.job.pause_after is None else "reach_now"
        return None

    def give_up(self, transaction: Transaction, order: Order, *, is_draining: bool) -> Job:
        """End the attempt of a trainer that does not do in time what it was ordered."""
        if order == "checkpoint_and_stop" or is_draining:
            return jobs.release(transaction, self.claim)  # the next uses the newest checkpoint
        if self._keeps_model:
            return jobs.cancelled(transaction, self.claim)
        detail = "the trainer did not score and save in finish_seconds"
        return jobs.fail(transaction, self.claim, reason="max_runtime_exceeded", detail=detail)

    def seconds_for(self, order: Order, *, is_draining: bool) -> float:
        """Return how long the trainer may take for an order."""
        is_short = order == "checkpoint_and_stop" or is_draining
        return self._settings.grace_seconds if is_short else self._settings.finish_seconds

    def requeue(self, transaction: Transaction, *, reason: str, detail: str) -> Job:
        """Requeue the job with one more failure, or fail it at `max_attempts`. Raises LeaseLost."""
        self._requeued_for = reason
        return jobs.retry(
            transaction,
            self.claim,
            reason=reason,
            detail=detail,
            max_attempts=self._settings.max_attempts,
            backoff_seconds=self._settings.retry_backoff_seconds,
        )

    def _deadline(self, paused_seconds: float) -> float | None:
        """Return the monotonic time of the job's runtime limit.

        It counts from the first start, without the time for which the job was paused.
        """
        limit: float | None = self.job.spec["training"]["max_runtime_seconds"]
        if limit is None:
            return None
        assert self.job.lease_expires_at is not None
        assert self.job.started_at is not None
        claimed_at = self.job.lease_expires_at - self._settings.lease_seconds
        # Less than nothing has passed if the clock was set back since then.
        passed = max(0.0, claimed_at - self.job.started_at - paused_seconds)
        return time.monotonic() + limit - passed
