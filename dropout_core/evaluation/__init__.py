"""How good a model is: metrics, calibration, importance, cross-validation."""
