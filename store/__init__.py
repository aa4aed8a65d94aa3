"""The records that app and worker share: datasets, jobs and models."""
