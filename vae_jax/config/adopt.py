"""User-defined members: `model.likelihood = "mine:student_t"` is `student_t` of the module `mine`.

The module is found from the current folder, or installed. The member is a section like all others:
its keys become config keys.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from vae_jax.config.code import LOADED, Code, changed, copied, of_folder, of_user, other_code
from vae_jax.config.declared import families_of, keys_of
from vae_jax.config.schema import KEYS, LANE_KEYS, SECTIONS, SOURCE_KEYS
from vae_jax.errors import UserError, tell
from vae_jax.keys import chosen_names

NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
OWN_KEYS: dict[str, Any] = {}  # {a key that only user-defined members read: its default}


def own_names(values: Mapping[str, Any]) -> dict[str, str]:
    """{name of a member: the family key} of the values that name user-defined members."""
    named = {
        name: key
        for key, value in values.items()
        for name in chosen_names(tuple(value) if isinstance(value, list) else value)
        if isinstance(name, str) and NAME.fullmatch(name)
    }
    if not named:  # most configs
        return {}
    families = families_of(SECTIONS)
    return {name: key for name, key in named.items() if key in families}


class Copies(NamedTuple):
    """What a run folder says of the code that its config names."""

    folder: Path  # with copies of the modules
    checksums: Mapping[str, str]  # {module: that of its code}; none in earlier versions


def adopt(values: Mapping[str, Any], copies: Copies | None = None) -> None:
    """Makes every user-defined member that the values name one of the choices of its family.

    Args:
      values: a flat config, or a part of one.
      copies: the values are those of a run folder, whose code runs only if it is trusted; None: the
        user names the members.

    Raises:
      UserError: there is no such module or member, it is no section of its family, or is not the
        code that the run folder wants; nothing was adopted.
    """
    found = own_names(values)
    if not found:
        return
    families = families_of(SECTIONS)
    new: dict[str, tuple[str, type]] = {}
    for name, key in found.items():
        module = name.partition(":")[0]
        if name not in families[key]:
            new[name] = key, member_of(name, key, families[key], copies)
        elif copies is not None:
            refuse_other_code(name, key, copies)
        elif changed(module):
            tell(
                f"{LOADED[module].file} was changed after it was imported; what was imported is "
                "used, until Python is started again"
            )
    try:
        for name, (key, member) in new.items():
            families[key][name] = member
        keys = keys_of(SECTIONS)
        refuse_names(keys.keys() - KEYS.keys())
    except (TypeError, UserError) as error:
        for name, (key, _) in new.items():
            del families[key][name]
        if not new:
            raise
        raise UserError(f"{' and '.join(new)}: {error}") from error
    before = set(KEYS)
    KEYS.update(keys)
    added = [key for key in KEYS if key not in before]
    OWN_KEYS.update({key: KEYS[key].default for key in added})
    LANE_KEYS.update(key for key in added if KEYS[key].is_traced)
    SOURCE_KEYS.extend(key for key in added if key.startswith("dataset."))


def refuse_names(keys: Iterable[str]) -> None:
    """Raises UserError if a part of a key is a name that every ConfigDict has."""
    for key in sorted(keys):
        for part in key.split("."):
            if hasattr(ConfigDict, part):
                raise UserError(
                    f"the key {key!r} can't be one, as every ConfigDict has {part!r}; give it "
                    "another name: key=..."
                )


def refuse_other_code(name: str, key: str, copies: Copies) -> None:
    """Raises UserError if a member that is in use is not the one that the run folder wants."""
    module = name.partition(":")[0]
    there, wanted = LOADED.get(module), wanted_of(module, key, copies)
    if there is not None and wanted not in (None, there.checksum):
        raise other_code(f"{key} = {name!r}", there, str(wanted), copies.folder)


def wanted_of(module: str, key: str, copies: Copies) -> str | None:
    """The checksum that the code of a run must have; None: any, as a run may be measured anew."""
    if key.startswith("evaluation."):
        return None
    copy = copied(module, copies.folder)
    return copies.checksums.get(module, copy and copy.checksum)


def member_of(name: str, key: str, others: Mapping[str, Any], copies: Copies | None) -> type:
    """The section that a name such as "mine:student_t" stands for.

    Raises:
      UserError: as in `adopt`.
    """
    module_name, _, own = name.partition(":")
    where = f"{key} = {name!r}"
    if copies is None:
        module = of_user(module_name, where)
    else:
        wanted = wanted_of(module_name, key, copies)
        module = of_folder(module_name, where, copies.folder, wanted)
    member: Any = getattr(module, own, None)
    if member is None:
        raise UserError(f"{where}: {getattr(module, '__file__', module_name)} has no {own!r}")
    if not (isinstance(member, type) and dataclasses.is_dataclass(member)):
        raise UserError(
            f"{where}: it should be a section, a class under @vae_jax.keys.section; "
            "docs/extending.md has an example"
        )
    shared = set.intersection(*({n for n in dir(m) if n[0] != "_"} for m in others.values()))
    fields = {field.name for field in dataclasses.fields(member)}
    missing = sorted(shared - set(dir(member)) - fields)
    if missing:
        raise UserError(f"{where}: it has no {', '.join(missing)}, as all its kind have")
    return member


def codes(*several: Mapping[str, Any]) -> dict[str, Code]:
    """{module: its code} of the user-defined members that the values name."""
    names = (name.partition(":")[0] for values in several for name in own_names(values))
    return {name: LOADED[name] for name in dict.fromkeys(names) if name in LOADED}


def checksums(*several: Mapping[str, Any]) -> dict[str, str]:
    """{module: the checksum of its code}, of those that the numbers of a run depend on."""
    trained = (
        {key: value for key, value in values.items() if not key.startswith("evaluation.")}
        for values in several
    )
    return {name: code.checksum for name, code in codes(*trained).items()}
