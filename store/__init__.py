"""What app and worker share: the truth about datasets, jobs and models."""
