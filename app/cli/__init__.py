"""`dropout-service`: a command for every role, for keys and backups, and the demo."""
