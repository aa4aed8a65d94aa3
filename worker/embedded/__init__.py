"""The embedded worker, which claims rows without a broker."""
