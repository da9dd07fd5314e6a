"""Checks the config that a user wrote."""

from collections.abc import Mapping
from typing import Any

from vae_jax.config.adopt import OWN_KEYS, adopt
from vae_jax.config.build import make_config
from vae_jax.config.declared import idle_problem, normalised
from vae_jax.config.needs import refuse_combination
from vae_jax.config.schema import KEYS, flatten, unknown_key
from vae_jax.errors import UserError
from vae_jax.keys import Values


def check(config: Mapping[str, Any], *, idle_allowed: bool = False) -> Values:
    """The flat config; each value is converted to the type of its key (1 and 1.0 hash alike).

    `idle_allowed`: a key that is set but that no chosen member reads gets its default.

    Raises:
      UserError: an unknown or missing key, an invalid value, a value without effect, or choices
        that cannot be combined.
    """
    flat = flatten(config)
    adopt(flat)
    flat = OWN_KEYS | flat
    for key in flat:
        if key not in KEYS:
            raise unknown_key(key)
    for key in KEYS:
        if key not in flat:
            raise UserError(f"the config has no {key!r}; start it from configs/default.py")
    values, idle = normalised(KEYS, flat)
    for key in idle:
        if not idle_allowed:
            raise UserError(idle_problem(KEYS, values, key, flat[key]))
    refuse_combination(make_config(values))
    return values
