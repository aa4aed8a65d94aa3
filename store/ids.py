"""Prefixed ids that sort by creation time, such as `job_01kabc...`."""

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32
_LENGTH = 26
_RANDOM_BITS = 80


def new_id(prefix: str) -> str:
    """Return an id of 48 bits of Unix milliseconds, then 80 random bits."""
    return _id(prefix, time.time_ns() // 1_000_000, secrets.randbits(_RANDOM_BITS))


def earliest(prefix: str, seconds: float) -> str:
    """Return the lowest id that can be made from this time on, in Unix seconds."""
    return _id(prefix, max(0, int(seconds * 1000)), 0)


def pattern(prefix: str) -> str:
    """Return a regular expression for all ids with the prefix."""
    return f"^{prefix}_[0-9a-hjkmnp-tv-z]{{{_LENGTH}}}$"


def _id(prefix: str, milliseconds: int, random_bits: int) -> str:
    number = milliseconds << _RANDOM_BITS | random_bits
    digits = (_ALPHABET[number >> 5 * index & 31] for index in reversed(range(_LENGTH)))
    return f"{prefix}_{''.join(digits)}"
