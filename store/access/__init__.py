"""Who may call, and how much: keys, quotas, rates, idempotency."""
