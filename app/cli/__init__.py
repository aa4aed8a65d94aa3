"""`dropout-service`: commands for every role, for keys and backups, and the demo."""
