"""API keys, quotas, rate limits and idempotency keys."""
