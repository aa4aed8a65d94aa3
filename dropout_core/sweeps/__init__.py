"""Search for the best config: which trials there are, which are promoted, and which wins.

decide:  SweepConfig, trials and results so far -> Decision    what follows, in whatever order
sweep:   ResolvedTable, SweepConfig -> SweepResult             a whole sweep in one process

`decision` and what it needs are free of torch, so that a process that does not train can drive a
sweep. `sweep` is imported when it is first used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dropout_core.sweeps.tabular_sweep import SweepResult, sweep

__all__ = ["SweepResult", "sweep"]


if not TYPE_CHECKING:  # a type checker that sees `__getattr__` accepts any name

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from dropout_core.sweeps import tabular_sweep

        return getattr(tabular_sweep, name)
