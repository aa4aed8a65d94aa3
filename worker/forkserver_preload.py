"""Modules that the forkserver loads before it forks trainers, so that no trainer waits for them.

`worker.supervisor` imports the trainer's entry point. The other modules would be imported on first
use, torch's by the first optimizer.
"""

from store.operations.gc_freeze import frozen_imports

with frozen_imports():
    import numpy.ma  # noqa: F401
    import torch.profiler  # noqa: F401

    import worker.supervisor
    import worker.trainer  # noqa: F401
