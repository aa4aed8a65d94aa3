"""The prediction engine: find and load models, predict rows, score models. No HTTP."""
