"""User-defined members: `model.likelihood = "mine:student_t"` is `student_t` of the module `mine`.

The module is found from the current folder, or installed. The member is a section like all others:
its keys become config keys. A config holds the members that it names, with their code: another one
may have others of the same names.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from vae_jax.config.build import Config
from vae_jax.config.code import (
    NO_MEMBERS,
    Code,
    Member,
    Members,
    chosen_code,
    code_copied,
    code_here,
    import_module,
    other_code,
    together,
    trust,
)
from vae_jax.config.declared import Family, Key, families_of
from vae_jax.config.members import lacks
from vae_jax.config.schema import KEYS, SECTIONS, keys_with, sections_of
from vae_jax.errors import UserError
from vae_jax.probability.interface import LatentDistribution
from vae_jax.sections.declare import chosen_names
from vae_jax.sections.interface import complete, missing
from vae_jax.words import page

NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
AFTERWARDS = ("evaluation.", "log.")  # keys of what is no part of the training


def names_of_members(values: Mapping[str, Any], known: Members) -> list[tuple[str, str]]:
    """(family key, name) of the values that name user-defined members."""
    named = [
        (key, name)
        for key, value in values.items()
        for name in chosen_names(tuple(value) if isinstance(value, list) else value)
        if isinstance(name, str) and NAME.fullmatch(name)
    ]
    if not named:  # most configs
        return []
    families = families_of(SECTIONS, sections_of(known))
    return [(key, name) for key, name in named if key in families]


class Copies(NamedTuple):
    """What a run folder says of the code that its config names."""

    folder: Path  # with copies of the modules
    checksums: Mapping[str, str]  # {module: that of its code}; none in earlier versions


def import_members(
    values: Mapping[str, Any], known: Members = NO_MEMBERS, copies: Copies | None = None
) -> Members:
    """The user-defined members that the values name, beside those that are known.

    Args:
      values: a flat config, or a part of one.
      known: members that are there already, and stay what they are.
      copies: the values are those of a run folder, whose code runs only if it is trusted; None: the
        user names the members.

    Raises:
      UserError: there is no such module or member, it is no section of its family, or is not the
        code that the run folder wants.
    """
    named = names_of_members(values, known)
    if copies is not None:
        for key, name in named:
            if (key, name) in known:
                refuse_other_code(name, key, known[key, name].code, copies)
    new = [chosen for chosen in dict.fromkeys(named) if chosen not in known]
    families = families_of(SECTIONS, sections_of(known))
    members: Members = {**known, **imported_members(new, families, copies)}
    if members:
        try:
            refuse_names(keys_with(members).keys() - KEYS.keys())
        except (TypeError, UserError) as error:
            names = " and ".join(name for _, name in new or members)
            raise UserError(f"{names}: {error}") from error
    # A new member may have families of its own.
    return members if not new else import_members(values, members)


def import_anew(values: Mapping[str, Any], known: Members) -> Members:
    """The user-defined members that the user names now, beside the known ones of a run folder.

    They are of the code of today, or the known ones where the folder alone has code.

    Raises:
      UserError: as `import_members`.
    """
    named = [
        chosen
        for chosen in names_of_members(values, known)
        if chosen not in known
        or known[chosen].code is None
        or code_here(chosen[1].partition(":")[0]) is not None
    ]
    others = {chosen: member for chosen, member in known.items() if chosen not in named}
    return import_members(values, others)


def imported_members(
    chosen: list[tuple[str, str]], families: Mapping[str, Family], copies: Copies | None
) -> Members:
    """Members of these (family key, name) pairs. Raises UserError as `import_members`."""
    # By module, and the checksum that it must have.
    codes: dict[tuple[str, str | None], Code | None] = {}
    versions: dict[tuple[str, str], tuple[str, str | None]] = {}
    for key, name in chosen:
        module_name = name.partition(":")[0]
        wanted = None if copies is None else wanted_of(module_name, key, copies)
        version = versions[key, name] = module_name, wanted
        if version not in codes and copies is None:
            codes[version] = code_here(module_name)
        elif version not in codes and copies is not None:
            where = f"{key} = {name!r}"
            codes[version] = chosen_code(module_name, where, copies.folder, wanted)
    with_code = {version: code for version, code in codes.items() if code is not None}
    texts = dict(zip(with_code, together(list(with_code.values())), strict=True))
    members: dict[tuple[str, str], Member] = {}
    for key, name in chosen:
        version = versions[key, name]
        module = import_module(texts.get(version), version[0], f"{key} = {name!r}")
        code = codes[version]
        if copies is None and code is not None:
            trust(code)
        members[key, name] = Member(member_of(module, name, key, families[key].interface), code)
    return members


def own_keys(members: Members) -> dict[str, Key]:
    """The keys that only these user-defined members read."""
    return {name: key for name, key in keys_with(members).items() if name not in KEYS}


def refuse_names(keys: Iterable[str]) -> None:
    """Raises UserError if a part of a key is a name that every ConfigDict has."""
    for key in sorted(keys):
        for part in key.split("."):
            if hasattr(ConfigDict, part):
                raise UserError(
                    f"the key {key!r} can't have this name: each ConfigDict has {part!r}; give "
                    "it another name: key=..."
                )


def refuse_other_code(name: str, key: str, code: Code | None, copies: Copies) -> None:
    """Raises UserError if the code of a member is not what the run folder wants."""
    wanted = wanted_of(name.partition(":")[0], key, copies)
    if code is not None and wanted not in (None, code.checksum):
        raise other_code(f"{key} = {name!r}", code, str(wanted), copies.folder)


def wanted_of(module: str, key: str, copies: Copies) -> str | None:
    """The checksum that the code of a run must have; None: any, as a run may be measured anew."""
    if key.startswith(AFTERWARDS):
        return None
    copy = code_copied(module, copies.folder)
    return copies.checksums.get(module, copy and copy.checksum)


def member_of(module: ModuleType, name: str, key: str, interface: type) -> type:
    """The section of a module that a name such as "mine:student_t" stands for.

    Raises:
      UserError: there is none, or it is no section of its family.
    """
    module_name, _, name_there = name.partition(":")
    where = f"{key} = {name!r}"
    member: Any = getattr(module, name_there, None)
    if member is None:
        raise UserError(
            f"{where}: {getattr(module, '__file__', module_name)} has no {name_there!r}"
        )
    if not (isinstance(member, type) and dataclasses.is_dataclass(member)):
        raise UserError(
            f"{where}: it should be a section, a class under vae_jax.sections.declare's "
            "@section; an example: "
            f"{page('extending')}"
        )
    if lacking := missing(member, interface):
        raise UserError(f"{where}: {lacks(key, name_there, lacking, interface)}")
    of_z = getattr(member, "distribution_type", None)
    if isinstance(of_z, type) and (lacking := missing(of_z, LatentDistribution)):
        raise UserError(f"{where}: {lacks(key, of_z.__name__, lacking, LatentDistribution)}")
    complete(member, interface)
    return member


def codes(*configs: Config, trained: bool = False) -> dict[str, Code]:
    """{module: its code} of the user-defined members that the configs name.

    `trained`: only of those that the numbers of a run depend on.
    """
    first: dict[str, Code] = {}
    for config in configs:
        for key, name in names_of_members(config.values, config.members):
            code = config.members[key, name].code
            if code is not None and not (trained and key.startswith(AFTERWARDS)):
                first.setdefault(code.name, code)
    return first


def checksums(*configs: Config) -> dict[str, str]:
    """{module: the checksum of its code}, of those that the numbers of a run depend on."""
    return {name: code.checksum for name, code in codes(*configs, trained=True).items()}


def member_sections(config: Config, key: str) -> dict[str, Any]:
    """{name: section} of the user-defined members of a family that a config may name."""
    return {name: member.cls for (family, name), member in config.members.items() if family == key}
