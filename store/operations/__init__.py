"""What operators need: settings of logs, traces, metrics, backups and retention."""
