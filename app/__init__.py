"""The HTTP edge: speaks HTTP and delegates the rest."""
