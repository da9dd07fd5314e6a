"""The earlier name of sections/declare.py: run folders keep modules of users that import it."""

from vae_jax.sections.declare import *  # noqa: F403
