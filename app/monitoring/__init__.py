"""What is measured and logged of requests, and whether the service is ready."""
