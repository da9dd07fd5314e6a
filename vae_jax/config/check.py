"""Checks the config that a user wrote."""

import contextlib
from collections.abc import Collection, Mapping
from typing import Any

from vae_jax.config.build import Config, make_config
from vae_jax.config.code import NO_MEMBERS, Members
from vae_jax.config.declared import idle_problem, is_read, normalised
from vae_jax.config.import_members import import_members, own_keys
from vae_jax.config.needs import refuse_combination
from vae_jax.config.schema import flatten, keys_with, unknown_key
from vae_jax.errors import UserError, tell
from vae_jax.sections.checks import written
from vae_jax.sections.declare import Values


def check(
    config: Mapping[str, Any], known: Members = NO_MEMBERS, *, idle_allowed: bool = False
) -> Config:
    """The checked config; each value has the type of its key (1 and 1.0 hash alike).

    Args:
      known: user-defined members that it may name; it imports the others.
      idle_allowed: a key that is set but that no chosen member reads gets its default.

    Raises:
      UserError: an unknown or missing key, an invalid value, a value without effect, or choices
        that cannot be combined.
    """
    flat = flatten(config)
    members = import_members(flat, known)
    keys, only_theirs = keys_with(members), own_keys(members)
    flat = {name: key.default for name, key in only_theirs.items()} | flat
    for key in flat:
        if key not in keys:
            raise unknown_key(key)
    for key in keys:
        if key not in flat:
            raise UserError(f"the config has no {key!r}; start it from configs/default.py")
    values, idle = normalised(keys, flat)
    for key in idle:
        if not idle_allowed:
            raise UserError(idle_problem(keys, values, key, flat[key]))
    # Keys of known members that this config does not name.
    values = {k: v for k, v in values.items() if k not in only_theirs or is_read(keys[k], values)}
    checked = make_config(values, members)
    refuse_combination(checked)
    return checked


def without_unread(
    config: Mapping[str, Any],
    before: Mapping[str, Any],
    given: Collection[str],
    known: Members = NO_MEMBERS,
) -> tuple[Values, Members]:
    """The flat config, without what only parts read that the user replaced by others.

    Such a key gets its default, and a line says so. One that the user set stays, and `check`
    refuses it.

    Args:
      before: the config as its file has it.
      given: the keys that the user set, on the command line or by keyword.
      known: as in `check`.

    Returns:
      The flat config, and the user-defined members, of `before` too, to check it with.

    Raises:
      UserError: as in `import_members`.
    """
    flat, old = flatten(config), flatten(before)
    with contextlib.suppress(UserError):  # it may have been replaced because it can't be imported
        known = import_members(old, known)
    members = import_members(flat, known)
    keys = keys_with(members)
    chosen = {name: flat[name] for name in flat.keys() & keys.keys() if keys[name].is_family}
    if any(isinstance(it, str) and it not in keys[name].choices for name, it in chosen.items()):
        return flat, members  # `check` says that a name is unknown
    unread = {
        name: keys[name].default
        for name in flat.keys() & old.keys() & keys.keys() - set(given)
        if is_read(keys[name], old) and not is_read(keys[name], flat)
    }
    lost = [name for name in keys if name in unread and flat[name] != unread[name]]
    if lost:
        said = ", ".join(f"{name} = {written(flat[name])}" for name in lost)
        tell(f"left out of the config, as no chosen part reads it: {said}")
    return flat | unread, members
