"""The earlier name of sections/checks.py: run folders keep modules of users that import it."""

from vae_jax.sections.checks import *  # noqa: F403
