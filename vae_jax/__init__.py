"""Variational autoencoders in JAX: pure functions, whole sweeps as one compiled program.

run = vae_jax.train(images, latent_size=8, seeds=3, epochs=20)
run = vae_jax.load("runs/mnist")
q = vae_jax.encode(run.model, run.variables, x)  # vae_jax/functions.py
"""

import importlib
from typing import Any

__version__ = "0.2.0"

# Of functions.py; `config` is a package that can be called; the others are of api.
FUNCTIONS = ("decode", "elbo", "encode", "init", "reparameterize", "train_step")
EXPORTS = {
    "Exported": "vae_jax.exports.exported",
    "export": "vae_jax.exports.write",
    "load_exported": "vae_jax.exports.exported",
    "push_to_hub": "vae_jax.exports.hub",
}
MODULES = {"config": "vae_jax.config", "frames": "vae_jax.api.frames"}

__all__ = [
    "Exported",
    "Trained",
    "config",
    "decode",
    "elbo",
    "encode",
    "export",
    "fit_sampler",
    "init",
    "load",
    "load_exported",
    "push_to_hub",
    "read_images",
    "reparameterize",
    "save",
    "train",
    "train_step",
]


def __getattr__(name: str) -> Any:
    """Imports a name of `__all__` when it is first used, as importing jax takes a second."""
    if name in MODULES:
        return importlib.import_module(MODULES[name])
    if name in __all__:
        home = "vae_jax.functions" if name in FUNCTIONS else "vae_jax.api"
        home = EXPORTS.get(name, home)
        return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'vae_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
