"""Prefixed ids that sort by creation time, such as `job_01kabc...`."""

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32
_LENGTH = 26
_RANDOM_BITS = 80


def new_id(prefix: str) -> str:
    """Return an id of 48 bits of Unix milliseconds, then 80 random bits."""
    number = time.time_ns() // 1_000_000 << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    digits = (_ALPHABET[number >> 5 * index & 31] for index in reversed(range(_LENGTH)))
    return f"{prefix}_{''.join(digits)}"
