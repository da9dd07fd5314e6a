"""Hyperparameters, optimiser, train step and loop: no I/O, no clock, no printing."""
