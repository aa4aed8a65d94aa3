"""Multilayer perceptrons with dropout: config in, trained model and its predictions out.

Import from the submodules (`dropout_core.config`, `dropout_core.training.loop`, ...). This file
stays empty so that a process that needs only the configs does not pay for importing torch.
"""
