"""Jobs: their rows, their delivery, and the ownership protocol (docs/decisions/0001)."""

from store.jobs.delivery import claimable, due_for_dispatch, mark_dispatched
from store.jobs.ownership import (
    Claim,
    cancel,
    cancelled,
    claim,
    expire_leases,
    fail,
    progressed,
    reap,
    record,
    release,
    renew,
    retry,
    succeed,
)
from store.jobs.rows import STATES, TERMINAL, Job, create, get, metrics, page, remove

__all__ = [
    "STATES",
    "TERMINAL",
    "Claim",
    "Job",
    "cancel",
    "cancelled",
    "claim",
    "claimable",
    "create",
    "due_for_dispatch",
    "expire_leases",
    "fail",
    "get",
    "mark_dispatched",
    "metrics",
    "page",
    "progressed",
    "reap",
    "record",
    "release",
    "remove",
    "renew",
    "retry",
    "succeed",
]
