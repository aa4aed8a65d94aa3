"""Models to take away, and what to know of them."""
