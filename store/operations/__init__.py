"""Logs, traces, metrics, backups and retention."""
