"""Runs jobs: claims them, trains them in a process of their own, records what happens."""
