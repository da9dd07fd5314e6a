"""User-defined members: `model.likelihood = "mine:student_t"` is `student_t` of the module `mine`.

The module is found from the current folder, or installed. The member is a section like all others:
its keys become config keys.
"""

import dataclasses
import importlib
import importlib.util
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from vae_jax.config.declared import families_of, keys_of
from vae_jax.config.schema import KEYS, LANE_KEYS, SECTIONS, SOURCE_KEYS
from vae_jax.errors import UserError
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


def adopt(values: Mapping[str, Any], copies: Path | None = None) -> None:
    """Makes every user-defined member that the values name one of the choices of its family.

    Args:
      values: a flat config, or a part of one.
      copies: a folder with copies of the modules, for those that are not found otherwise.

    Raises:
      UserError: there is no such module or member, or it is no section of its family.
    """
    found = own_names(values)
    if not found:
        return
    families = families_of(SECTIONS)
    new = {name: key for name, key in found.items() if name not in families[key]}
    if not new:
        return
    for name, key in new.items():
        families[key][name] = member_of(name, key, families[key], copies)
    before = set(KEYS)
    KEYS.update(keys_of(SECTIONS))
    added = [key for key in KEYS if key not in before]
    OWN_KEYS.update({key: KEYS[key].default for key in added})
    LANE_KEYS.update(key for key in added if KEYS[key].is_traced)
    SOURCE_KEYS.extend(key for key in added if key.startswith("dataset."))


def member_of(name: str, key: str, others: Mapping[str, Any], copies: Path | None) -> type:
    """The section that a name such as "mine:student_t" stands for.

    Raises:
      UserError: as in `adopt`.
    """
    module_name, _, own = name.partition(":")
    where = f"{key} = {name!r}"
    module = module_of(module_name, where, copies)
    member: Any = getattr(module, own, None)
    if member is None:
        raise UserError(f"{where}: {module.__file__} has no {own!r}")
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


def module_of(name: str, where: str, copies: Path | None) -> ModuleType:
    """The module, imported from the current folder or installed; else from its copy."""
    copy = copies / f"{name}.py" if copies else None
    try:
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(name=name)
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name or copy is None or not copy.exists():
            what = "" if error.name == name else f" (it needs {error.name})"
            raise UserError(
                f"{where}: there is no module {name!r}{what} in the current folder, and none is "
                "installed"
            ) from error
        return from_file(name, copy, where)
    except Exception as error:
        raise UserError(f"{where}: {name} can't be imported: {error}") from error
    file = getattr(module, "__file__", None)
    if copy is not None and copy.exists() and file and source(module) != copy.read_text():
        print(
            f"vae-jax: {file} is not what it was when this run was trained; {copy} is",
            file=sys.stderr,
        )
    return module


def from_file(name: str, path: Path, where: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UserError(f"{where}: {path} can't be imported: {error}") from error
    return module


def source(module: ModuleType) -> str:
    """The text of a module; "" if it has none."""
    file = getattr(module, "__file__", None)
    return Path(file).read_text() if file and file.endswith(".py") else ""


def sources(values: Mapping[str, Any]) -> dict[str, str]:
    """{module: its text} of the user-defined members that the values name."""
    modules = dict.fromkeys(name.partition(":")[0] for name in own_names(values))
    return {name: source(sys.modules[name]) for name in modules if name in sys.modules}
