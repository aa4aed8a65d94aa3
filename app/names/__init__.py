"""What models are called."""
