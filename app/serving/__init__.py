"""The prediction engine: it finds and loads models, predicts rows and scores models. No HTTP."""
