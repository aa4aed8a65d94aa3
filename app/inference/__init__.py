"""Predictions and evaluations, dropout off."""
