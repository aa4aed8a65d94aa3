"""The metrics of the service, and its readiness."""
