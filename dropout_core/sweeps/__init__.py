"""Search for the best config: which trials there are, which are promoted, and which wins.

decide:  SweepConfig, trials and results so far -> Decision    what follows, whatever came first
sweep:   ResolvedTable, SweepConfig -> SweepResult             a whole sweep in one process

`decide` is free of torch, so that processes can drive sweeps that do not train.
"""
