"""What the server of trainers loads before any is forked, for none of them to wait for.

A trainer is found through `worker.supervisor`. The others are imported on first use, torch's by the
first optimizer: together a second and a half.
"""

from store.operations.gc_freeze import frozen_imports

with frozen_imports():
    import numpy.ma  # noqa: F401
    import torch._dynamo
    import torch.profiler  # noqa: F401

    import worker.supervisor
    import worker.trainer  # noqa: F401
