"""The output of `vae-jax list` and the text of configs/default.py, both from the declarations."""

import inspect
import textwrap
from collections.abc import Iterator
from typing import Any

from vae_jax.config.adopt import OWN_KEYS
from vae_jax.config.declared import Key
from vae_jax.config.schema import KEYS

WIDTH = 100
HEAD = '''\
"""Every key that exists, with its meaning and unit. Every other config starts from this one.

As it stands it is the VAE most examples use (784-400-20, batch 128) for one seed and 10 epochs;
`configs/mnist_20d.py` is the same over three seeds, with the numbers to expect.

  vae-jax train --config=configs/default.py --workdir=runs/default

A key that only some choices read says which; set without one of them, it is refused. This file is
written by `vae-jax list --write`, from what the code declares.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
'''


def described(member: Any) -> str:
    """The first line of a member's docstring; "" without one."""
    if isinstance(member, str):
        return member
    text = (inspect.getdoc(member) or "") if callable(member) else ""
    return text.split("\n")[0].rstrip(".")


def families() -> dict[str, Key]:
    """The keys with a fixed set of names."""
    return {name: key for name, key in KEYS.items() if key.choices}


def listing() -> str:
    """Every key with a fixed set of names, its default, and a line on each name.

    The keys that can have the same names stand together.
    """
    lines = ["Each key is shown with its default; the names below it are what it can be."]
    together: dict[str, list[str]] = {}
    for name, key in families().items():
        together.setdefault(repr(key.choices), []).append(name)
    for names in together.values():
        key = KEYS[names[0]]
        lines += ["", *(f"--config.{name}={shown(KEYS[name].default)}" for name in names)]
        width = max(map(len, key.choices))
        lines += [
            f"  {n:<{width}}  {described(member)}".rstrip()
            for n, member in sorted(key.choices.items())
        ]
    return "\n".join(lines)


def shown(default: Any) -> str:
    """The default, as one would write it on the command line."""
    return ",".join(default) if isinstance(default, tuple) else str(default)


def own_listing() -> list[str]:
    """A line for each key that only user-defined members read."""
    return [
        f"--config.{name}={quoted(default)}  {comment(name, KEYS[name])}"
        for name, default in OWN_KEYS.items()
    ]


def readers_of(name: str, key: Key) -> str:
    """The members that read a key: "adam, adamw: "; "" if all members of the family read it."""
    if any(not reader.when for reader in key.readers):
        return ""
    last = [reader.when[-1] for reader in key.readers]
    names = [f"{member} {family.split('.', 1)[1]}" if several_families(key) else member
             for family, member in last]  # fmt: skip
    everyone = {family for family, _ in last}
    if len(everyone) == 1 and len(set(names)) == len(KEYS[last[0][0]].choices):
        return ""  # all members of the family do
    return ", ".join(dict.fromkeys(names)) + ": "


def several_families(key: Key) -> bool:
    return len({reader.when[-1][0] for reader in key.readers}) > 1


def comment(name: str, key: Key) -> str:
    """What a key means, which members read it, and which names it allows."""
    docs = dict.fromkeys(reader.doc for reader in key.readers)
    names = f": {', '.join(key.choices)}" if key.choices else ""
    return readers_of(name, key) + "; ".join(docs) + names


def default_lines() -> Iterator[str]:
    """The lines of configs/default.py."""
    yield HEAD.rstrip("\n")
    made = {""}
    for name, key in KEYS.items():
        section = name.rpartition(".")[0]
        parts = section.split(".")
        for i in range(1, len(parts) + 1):
            at = ".".join(parts[:i])
            if at not in made:
                if i == 1:
                    yield ""
                made.add(at)
                yield f"    config.{at} = ConfigDict()"
        line, said = f"    config.{name} = {quoted(key.default)}", comment(name, key)
        if len(line) + len(said) + 4 <= WIDTH:
            yield f"{line}  # {said}"
        else:
            if not readers_of(name, key) and said[1:2].isalpha():
                said = said[0].upper() + said[1:]
            yield from textwrap.wrap(
                said, WIDTH, initial_indent="    # ", subsequent_indent="    # "
            )
            yield line
    yield ""
    yield "    return config"


def quoted(value: Any) -> str:
    """The value, formatted as ruff does."""
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        inside = ", ".join(map(quoted, value))
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1_000:
        return f"{value:_}"
    if isinstance(value, float) and 0 < value <= 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    return repr(value)


def default_text() -> str:
    """configs/default.py."""
    return "\n".join(default_lines()) + "\n"
