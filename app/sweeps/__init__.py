"""Sweeps: searches over configs, whose trials are jobs."""
