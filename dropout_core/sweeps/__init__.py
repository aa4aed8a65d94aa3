"""Search for the best config: which trials there are, which are promoted, and which wins.

decide:  SweepConfig, trials and results so far -> Decision    what follows, in whatever order
sweep:   ResolvedTable, SweepConfig -> SweepResult             a whole sweep in one process

`decision` and what it needs are free of torch, so that a process that does not train can drive a
sweep.
"""
