"""Trained models: preprocessing, network and description; saving, loading, predicting."""
