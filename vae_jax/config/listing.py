"""The output of `vae-jax list` and the text of configs/default.py, both from the declarations."""

import inspect
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

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


def families(keys: Mapping[str, Key] = KEYS) -> dict[str, Key]:
    """The keys with a fixed set of names."""
    return {name: key for name, key in keys.items() if key.choices}


def listing(keys: Mapping[str, Key] = KEYS) -> str:
    """Every key with a fixed set of names, its default, and a line on each name.

    The keys that can have the same names stand together.
    """
    lines = ["Each key is shown with its default; the names below it are what it can be."]
    together: dict[str, list[str]] = {}
    for name, key in families(keys).items():
        together.setdefault(repr(key.choices), []).append(name)
    for names in together.values():
        key = keys[names[0]]
        lines += ["", *(f"--config.{name}={shown(keys[name].default)}" for name in names)]
        width = max(map(len, key.choices))
        lines += [
            f"  {n:<{width}}  {described(member)}".rstrip()
            for n, member in sorted(key.choices.items())
        ]
    return "\n".join(lines)


def shown(default: Any) -> str:
    """The default, as one would write it on the command line."""
    return ",".join(default) if isinstance(default, tuple) else str(default)


def own_listing(keys: Mapping[str, Key]) -> list[str]:
    """A line for each of the keys that only user-defined members read."""
    return [
        f"--config.{name}={quoted(key.default)}  {comment(name, keys)}"
        for name, key in keys.items()
        if name not in KEYS
    ]


def readers_of(key: Key, keys: Mapping[str, Key] = KEYS) -> str:
    """The members that read a key: "adam, adamw: "; "" if all members of the family read it."""
    if any(not reader.when for reader in key.readers):
        return ""
    last = [reader.when[-1] for reader in key.readers]
    names = [f"{member} {family.split('.', 1)[1]}" if several_families(key) else member
             for family, member in last]  # fmt: skip
    everyone = {family for family, _ in last}
    if len(everyone) == 1 and len(set(names)) == len(keys[last[0][0]].choices):
        return ""  # all members of the family do
    return ", ".join(dict.fromkeys(names)) + ": "


def several_families(key: Key) -> bool:
    return len({reader.when[-1][0] for reader in key.readers}) > 1


def comment(name: str, keys: Mapping[str, Key] = KEYS) -> str:
    """What a key means, which members read it, and which names it allows."""
    key = keys[name]
    docs = dict.fromkeys(reader.doc for reader in key.readers)
    names = f": {', '.join(key.choices)}" if key.choices else ""
    return readers_of(key, keys) + "; ".join(docs) + names


def default_lines() -> Iterator[str]:
    """The lines of configs/default.py."""
    yield HEAD.rstrip("\n")
    made = {""}
    for name, key in KEYS.items():
        section = name.rpartition(".")[0]
        parts = section.split(".")
        for i in range(1, len(parts) + 1):
            prefix = ".".join(parts[:i])
            if prefix not in made:
                if i == 1:
                    yield ""
                made.add(prefix)
                yield f"    config.{prefix} = ConfigDict()"
        line, said = f"    config.{name} = {quoted(key.default)}", comment(name)
        if len(line) + len(said) + 4 <= WIDTH:
            yield f"{line}  # {said}"
        else:
            if not readers_of(key) and said[1:2].isalpha():
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
