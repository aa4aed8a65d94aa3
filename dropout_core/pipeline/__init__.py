"""From a table to a trained model, in stages, each of which is usable alone.

resolve_table: frame, ProblemConfig -> ResolvedTable    the task, the classes and the splits
encode_split:  ResolvedTable, Split -> EncodedSplit     rows as numbers, encoder fitted
prepare_model: EncodedSplit, MLPConfig -> PreparedModel an untrained network, its data scaled
train:         PreparedModel -> Training                the loop of `dropout_core.training`

`TabularRun` goes through all of them.
"""
