"""Variational autoencoders in JAX: pure functions, whole sweeps as one compiled program."""

__version__ = "0.1.0"
