"""What a config key is, and what a section of the config is.

A section is a frozen dataclass that is a pytree. A static key is part of its structure: another
value is another compiled program. A traced key is a leaf: a number that lanes of one program may
differ in. A family key names one of several members, each a section whose own keys stand beside it.

    @section
    class Renyi:
        alpha: float = traced(0.5, number(0), "its order")

    @section
    class Objective:
        bound: Any = family({"renyi": Renyi}, "renyi", "the bound on log p(x)", key="name")
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, dataclass_transform

import jax
import numpy as np

from vae_jax.checks import Check, name_in, names_in
from vae_jax.errors import UserError

Values = dict[str, Any]  # {"model.latent_size": 2, ...}: a config, flat, its types normalised
Section = TypeVar("Section")


class Facts(NamedTuple):
    """What a program takes from the data and the length of the run, beside its keys."""

    image_shape: tuple[int, int, int]
    num_classes: int  # of the labels
    train_size: int  # training examples
    steps_per_epoch: int
    total_steps: int


# What a field says of itself, where it does not say something else.
PLAIN: dict[str, Any] = {
    "static": True,
    "host": False,  # whether no program depends on it
    "check": None,  # None: it is no key
    "doc": "",
    "key": "",  # its name in the section; "": the field's
    "choices": {},  # the names that it can be, each with a line
    "members": {},  # the same, each with a section
    "several": False,  # whether it names any number of them
    "to": None,  # (value, facts) -> what the program takes
}


def _field(default: Any, **given: Any) -> Any:
    meta = PLAIN | given | {"default": default}
    if not meta["members"]:
        # What no program and no number depends on is no part of how a section is told.
        return dataclasses.field(default=default, repr=not meta["host"], metadata=meta)
    members, several = meta["members"], meta["several"]

    def make():
        return tuple(members[name]() for name in default) if several else members[default]()

    return dataclasses.field(default_factory=make, metadata=meta)


def static(default: Any, check: Check, doc: str, key: str = "", choices: Mapping = {}) -> Any:
    """A key whose other values are other programs.

    Args:
      key: its name in the section, "flow.width"; "": the field's.
      choices: {name: line on it}, of a key that is one of some names.
    """
    return _field(default, check=check, doc=doc, key=key, choices=choices)


def host(default: Any, check: Check, doc: str, key: str = "", choices: Mapping = {}) -> Any:
    """A key that no program depends on: what the host does, and with which data."""
    return _field(default, host=True, check=check, doc=doc, key=key, choices=choices)


def choice(choices: Mapping[str, Any], default: str, doc: str, key: str = "") -> Any:
    """A static key that is one of some names."""
    return static(default, name_in(choices), doc, key, choices)


def traced(
    default: Any,
    check: Check,
    doc: str,
    key: str = "",
    to: Callable[[Any, Facts], Any] | None = None,
) -> Any:
    """A number that lanes of one program may differ in.

    `to`: (value, facts) -> what the program takes, such as steps of epochs.
    """
    return _field(default, static=False, check=check, doc=doc, key=key, to=to)


def family(members: Mapping[str, type], default: str, doc: str, key: str = "") -> Any:
    """A key that names one of `members`, whose own keys stand in the same place."""
    check = name_in(members)
    return _field(default, static=False, members=members, check=check, doc=doc, key=key)


def families(members: Mapping[str, type], default: tuple[str, ...], doc: str, key: str = "") -> Any:
    """A key that names any number of `members`."""
    check = names_in(members)
    return _field(
        default, static=False, members=members, several=True, check=check, doc=doc, key=key
    )


def fact(to: Callable[[Facts], Any] | None = None, *, is_static: bool = True) -> Any:
    """No key: what the section takes of the Facts; `to` None: set where a program is made."""
    own = None if to is None else lambda _, facts: to(facts)
    return _field(None, static=is_static, to=own)


@dataclass_transform(frozen_default=True)
def section(cls: type[Section]) -> type[Section]:
    """Makes a class of keys a section."""
    cls = dataclasses.dataclass(frozen=True)(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    leaves = [f.name for f in fields if not f.metadata["static"]]
    fixed = [f.name for f in fields if f.metadata["static"]]

    # Not jax's register_dataclass: of two classes with equal static values, jax 0.10 to 0.12 find
    # the structures equal. Here the class is part of the structure.
    def flatten(part):
        return [getattr(part, name) for name in leaves], aux(part)

    def flatten_with_keys(part):
        keys = [(jax.tree_util.GetAttrKey(name), getattr(part, name)) for name in leaves]
        return keys, aux(part)

    def aux(part):
        return (cls, *(getattr(part, name) for name in fixed))

    def unflatten(aux, children):
        part = object.__new__(cls)
        for name, value in (*zip(fixed, aux[1:], strict=True), *zip(leaves, children, strict=True)):
            object.__setattr__(part, name, value)
        return part

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


# Conversions, of `traced`.


def in_steps(value, facts: Facts):
    """Epochs as steps."""
    return np.asarray(value) * facts.steps_per_epoch


def steps_of_a_part(value, facts: Facts):
    """The steps of each of so many equal parts of the run; of one part, infinite."""
    return facts.total_steps / value if value > 1 else math.inf


def or_infinite(value, facts: Facts):
    """0 is no limit."""
    return value or math.inf


class Reader(NamedTuple):
    """A member that reads a key."""

    when: tuple[tuple[str, str], ...]  # the family keys that choose it, and its names there
    check: Check
    doc: str
    choices: tuple[str, ...]  # the names that it knows; (): any value


class Key(NamedTuple):
    """A config key."""

    default: Any
    is_traced: bool
    choices: Mapping[str, Any]  # the names that it can be, each a section or a line; {}: any value
    is_family: bool
    readers: tuple[Reader, ...]


def keys_of(sections: Mapping[str, type]) -> dict[str, Key]:
    """Every key of the sections, members' own among them, in the order of declaration.

    Raises:
      TypeError: two members declare one key with different defaults, or as different kinds.
    """
    found: dict[str, Key] = {}

    def declare(cls: type, at: str, when: tuple[tuple[str, str], ...]) -> None:
        for f in dataclasses.fields(cls):
            meta = f.metadata
            if meta["check"] is None:
                continue
            name = name_of(f, at)
            key = Key(
                meta["default"],
                not meta["static"] and not meta["members"],
                dict(meta["members"] or meta["choices"]),
                bool(meta["members"]),
                (),
            )
            old = found.get(name, key)
            if old[:2] != key[:2]:
                raise TypeError(f"{name} is declared twice, and not alike")
            own = Reader(when, meta["check"], meta["doc"], tuple(key.choices))
            readers = (*old.readers, own)
            found[name] = old._replace(choices={**old.choices, **key.choices}, readers=readers)
            for member, own in meta["members"].items():
                declare(own, name.rpartition(".")[0], (*when, (name, member)))

    for at, cls in sections.items():
        declare(cls, at, ())
    return found


def name_of(f: dataclasses.Field, at: str) -> str:
    """The key of a section's field."""
    return f"{at}.{f.metadata['key'] or f.name}"


def is_chosen(when: tuple[tuple[str, str], ...], values: Values) -> bool:
    return all(name in chosen_names(values[key]) for key, name in when)


def chosen_names(value: Any) -> tuple:
    return value if isinstance(value, tuple) else (value,)


def normalised(keys: Mapping[str, Key], flat: Mapping[str, Any]) -> tuple[Values, list[str]]:
    """The values, checked, and the keys that are set though nothing chosen reads them.

    The value of a key that is not read is its default.

    Raises:
      UserError: a value that can't be.
    """
    values: Values = {}
    for name, key in keys.items():
        if key.is_family and (readers := [r for r in key.readers if is_chosen(r.when, values)]):
            values[name] = checked(readers[0], key, name, flat[name])
        elif key.is_family:
            values[name] = key.default
    idle = []
    for name, key in keys.items():
        if readers := [r for r in key.readers if is_chosen(r.when, values)]:
            for reader in readers:
                values[name] = checked(reader, key, name, flat[name])
        else:
            values[name] = key.default
            given = flat[name]
            if (tuple(given) if isinstance(given, list) else given) != key.default:
                idle.append(name)
    return {name: values[name] for name in keys}, idle


def checked(reader: Reader, key: Key, name: str, value: Any) -> Any:
    """What the reader makes of a value.

    Raises:
      UserError: it can't be; or it is a name that other readers alone know.
    """
    others = isinstance(value, str) and value in key.choices and value not in reader.choices
    if others and reader.when:
        family, member = reader.when[-1]
        raise UserError(
            f"{name} = {value!r} does not go with {family} = {member!r}; it should be "
            f"{' or '.join(reader.choices)}"
        )
    return reader.check(name, value)


def idle_problem(keys: Mapping[str, Key], values: Values, name: str, given: Any) -> str:
    """That a key is set which nothing chosen reads: why, and what would be right."""
    key = keys[name]
    family, names = next(
        (family, dict.fromkeys(r.when[i][1] for r in key.readers if len(r.when) > i))
        for i in range(max(len(r.when) for r in key.readers))
        for family in (key.readers[0].when[i][0],)
        if not any(is_chosen(r.when[: i + 1], values) for r in key.readers)
    )
    readers = " or ".join(map(repr, names))
    return (
        f"{name} = {given!r} has no effect: it is for {family} = {readers}, and that is "
        f"{values[family]!r}; leave it out, or set it to its default: "
        f"--config.{name}={written(key.default)}"
    )


def written(value: Any) -> str:
    """As the command line takes it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def build(cls: type[Section], values: Values, at: str) -> Section:
    """The section of checked values, in the units of the config."""
    found: dict[str, Any] = {}
    for f in dataclasses.fields(cls):  # type: ignore[arg-type]
        if f.metadata["check"] is None:
            continue
        name = name_of(f, at)
        value, members = values[name], f.metadata["members"]
        if members:
            parts = tuple(
                build(members[n], values, name.rpartition(".")[0]) for n in chosen_names(value)
            )
            value = parts if f.metadata["several"] else parts[0]
        found[f.name] = value
    return cls(**found)


def resolve(part: Section, facts: Facts) -> Section:
    """The section as a program takes it: epochs as steps, facts filled in, without the host's."""
    if isinstance(part, tuple):
        return tuple(resolve(one, facts) for one in part)  # type: ignore[return-value]
    if not dataclasses.is_dataclass(part):
        return part
    changes: dict[str, Any] = {}
    for f in dataclasses.fields(part):
        value = getattr(part, f.name)
        if f.metadata["host"]:
            changes[f.name] = f.metadata["default"]
        elif f.metadata["to"] is not None:
            changes[f.name] = f.metadata["to"](value, facts)
        elif f.metadata["members"]:
            changes[f.name] = resolve(value, facts)
    return replace(part, **changes)


def replace(part: Section, **changes: Any) -> Section:
    """The section with other values."""
    return dataclasses.replace(part, **changes)  # type: ignore[type-var]


def parts_of(part: Any) -> Iterator[Any]:
    """The section and the members chosen in it, at any depth."""
    if isinstance(part, tuple):
        for one in part:
            yield from parts_of(one)
    elif dataclasses.is_dataclass(part):
        yield part
        for f in dataclasses.fields(part):
            if f.metadata["members"]:
                yield from parts_of(getattr(part, f.name))


def choices_of(part: Any, at: str) -> dict[str, str]:
    """The family keys of a section, and the member that each has."""
    found: dict[str, str] = {}
    for f in dataclasses.fields(part):
        value, members = getattr(part, f.name), f.metadata["members"]
        if members and not f.metadata["several"]:
            name = name_of(f, at)
            found[name] = next(n for n, member in members.items() if type(value) is member)
            found |= choices_of(value, name.rpartition(".")[0])
    return found


def stack(lanes: Sequence[Section]) -> Section:
    """Sections of one structure as one: float32 leaves with a leading axis of lanes.

    Of leaves of unequal lengths, the shorter are filled up with infinities.
    """

    def of(*leaves):
        arrays = [np.asarray(leaf, np.float32) for leaf in leaves]
        if arrays[0].ndim == 0:
            return np.stack(arrays)
        filled = np.full((len(arrays), max(map(len, arrays))), np.inf, np.float32)
        for row, array in zip(filled, arrays, strict=True):
            row[: len(array)] = array
        return filled

    return jax.tree.map(of, *lanes)
