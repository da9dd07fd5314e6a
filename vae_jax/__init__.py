"""Variational autoencoders in JAX: pure functions, whole sweeps as one compiled program.

run = vae_jax.train(images, latent_size=8, seeds=3, epochs=20)
run = vae_jax.load("runs/mnist")
"""

import importlib
from typing import Any

__version__ = "0.1.0"

__all__ = ["Trained", "load", "save", "train"]


def __getattr__(name: str) -> Any:
    """Imports a name of `__all__` when it is first used, as importing jax takes a second."""
    if name in __all__:
        return getattr(importlib.import_module("vae_jax.api"), name)
    raise AttributeError(f"module 'vae_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
