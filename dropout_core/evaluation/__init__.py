"""Metrics, calibration, feature importance and cross-validation of models."""
