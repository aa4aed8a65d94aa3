"""Submitted jobs, with every setting filled in and checked against their data."""
