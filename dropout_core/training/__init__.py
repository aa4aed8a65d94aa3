"""Training: the loop, its losses, optimizers, steps and checkpoints."""
