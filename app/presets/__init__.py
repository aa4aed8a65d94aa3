"""Presets: what a job is made of where it leaves things open."""
