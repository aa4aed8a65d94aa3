"""What ends a job, and what the next attempt may not meet."""

import re

import structlog
import torch
from polars.exceptions import PanicException

from dropout_core.errors import DataError
from dropout_core.files import NO_SPACE, is_disk_full
from dropout_core.training.feasibility import InfeasibleError
from dropout_core.training.loop import Diverged
from store.errors import StorageUnavailable
from worker.messages import Failed

log = structlog.get_logger()

# What training can raise, whatever is at fault; polars' panics are no Exception.
ERRORS = (Exception, PanicException)
_MAX_REASON = 300  # characters
# A device that failed, or a limit on threads: not what the job computes.
_OF_THE_MACHINE = re.compile(r"CUDA|cuDNN|CUBLAS|NCCL|start new thread", re.IGNORECASE)


def failure(error: BaseException) -> Failed:
    """Return what to tell of an error; raise one that another attempt may not meet.

    With the same data and seed the next attempt computes the same, so any other error ends the job.
    """
    match error:
        case Diverged():
            return Failed("diverged", str(error))
        case DataError() | InfeasibleError():
            return Failed("invalid_data", str(error))
        case MemoryError():
            return Failed("out_of_memory", str(error) or "memory ran out", retryable=True)
        case StorageUnavailable():
            return Failed("worker_lost", "the artifact storage did not answer", retryable=True)
        case OSError() if is_disk_full(error):
            return Failed("disk_full", NO_SPACE)  # the error names an internal path
        case RuntimeError() if _is_out_of_memory(error):
            return Failed("out_of_memory", str(error), retryable=True)
        case OSError():
            raise error
        case RuntimeError() if _OF_THE_MACHINE.search(str(error)):
            raise error
    log.error("the trainer failed", exc_info=error)
    reason = next(iter(str(error).splitlines()), "")[:_MAX_REASON]
    return Failed("internal_error", f"{type(error).__name__}: {reason}")


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether memory ran out: CUDA has an error type, the CPU's allocator only a message."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
