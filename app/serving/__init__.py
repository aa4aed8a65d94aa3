"""The prediction engine: finds models, loads them, and has rows computed."""
