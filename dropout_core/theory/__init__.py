"""Dropout as mathematics: reference, marginalised objective, analysis of features."""
