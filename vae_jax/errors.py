"""The exceptions that the command line answers in one line."""

from collections.abc import Mapping
from typing import Any


class UserError(Exception):
    """A mistake of the user's: one line that says what is wrong and what would be right.

    The command line prints it without a traceback and exits with code 2.
    """


class Stopped(Exception):
    """A run was asked to stop, and has saved: the same command goes on from there."""


class Failed(Exception):
    """Some programs of a sweep raised; the others are done."""


def choose(table: Mapping[str, Any], name: str, key: str):
    """`table[name]`, where `name` is what the user wrote under the config key `key`.

    Raises:
      UserError: an unknown name, with the known ones.
    """
    if name not in table:
        raise UserError(f"{key} = {name!r} is unknown; known: {', '.join(sorted(table))}")
    return table[name]
