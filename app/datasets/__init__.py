"""Datasets: upload, look, delete."""
