"""Jobs: their rows, their delivery, and the ownership protocol (docs/decisions/0001)."""

from store.jobs.delivery import claimable, mark_dispatched, undelivered
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
    "undelivered",
]
