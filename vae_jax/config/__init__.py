"""All config keys: checks of values and combinations, and the specs built from them.

The package can be called: `vae_jax.config("mnist")` is one of the configs that vae_jax brings.
"""

import sys
from types import ModuleType

from ml_collections import ConfigDict


class Config(ModuleType):
    """This package, with a call."""

    def __call__(self, name: str) -> ConfigDict:
        """The config of this name, such as "mnist" or "sweeps/latent_size"; or of a file's path.

        It may be changed, and is trained by `vae_jax.train(config, workdir)`.

        Raises:
          UserError: there is none; the message lists the names.
        """
        from vae_jax.config.file import config_named

        return config_named(name)


sys.modules[__name__].__class__ = Config
