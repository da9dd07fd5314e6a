"""What a config key is, and what a section of the config is.

A section is a frozen dataclass that is a pytree. A static key is part of its structure: a new value
needs a new compiled program. A traced key is a leaf: a number that may differ between the lanes of
one program. A family key names one of several members; each is a section with keys of its own.

    @section
    class Renyi:
        alpha: float = traced(0.5, number(0), "its order")

    @section
    class Objective:
        bound: Any = family({"renyi": Renyi}, "renyi", "the bound on log p(x)", key="name")
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar, dataclass_transform

import jax
import numpy as np

from vae_jax.sections.checks import Check, name_in, names_in
from vae_jax.sections.interface import Part, complete

# User-defined members, which can be chosen beside those of a family: {(family key, name): section}.
UserSections = Mapping[tuple[str, str], type]
NO_USER_SECTIONS: UserSections = {}
Values = dict[str, Any]  # {"model.latent_size": 2, ...}: a config, flat, its types normalised
Section = TypeVar("Section")


class Facts(NamedTuple):
    """What a program needs besides its keys: properties of the data, and the length of the run."""

    image_shape: tuple[int, int, int]
    num_classes: int  # of what a conditional model is given: labels, or combinations of covariates
    train_size: int  # training examples
    steps_per_epoch: int
    total_steps: int
    counts: bool = False  # whether x are counts of any size
    given_sizes: tuple[int, ...] = ()  # levels of each covariate; (num_classes,): of the labels


# The default metadata of a field.
PLAIN: dict[str, Any] = {
    "static": True,
    "host": False,  # True: no program depends on it
    "of_lane": False,  # True, of a host key: it may differ between the lanes of one program
    "check": None,  # None: the field is not a key
    "doc": "",
    "key": "",  # its name in the section; "": the field's
    "choices": {},  # {allowed name: its description}
    "members": {},  # {allowed name: its section}
    "interface": Part,  # what its members have
    "several": False,  # True: the value is a tuple of any number of members
    "to": None,  # (value, facts) -> the value in the units of the program
    "by_data": None,  # the config's default, if that leaves the choice to the data
    "none": None,  # the config's default, if that is its word for the section's: no limit
}


def _field(default: Any, **given: Any) -> Any:
    meta = PLAIN | given | {"default": default}
    if not meta["members"]:
        # A host key affects no program and no result: repr leaves it out.
        return dataclasses.field(default=default, repr=not meta["host"], metadata=meta)
    members, several = meta["members"], meta["several"]

    def make() -> Any:
        return tuple(members[name]() for name in default) if several else members[default]()

    return dataclasses.field(default_factory=make, metadata=meta)


def static(default: Any, check: Check, doc: str, key: str = "", choices: Mapping = {}) -> Any:
    """A key of which each value needs its own compiled program.

    Args:
      key: its name in the section, such as "flow.width"; "": the name of the field.
      choices: {allowed name: its description}; empty: any value that passes the check.
    """
    return _field(default, check=check, doc=doc, key=key, choices=choices)


def host(
    default: Any,
    check: Check,
    doc: str,
    key: str = "",
    choices: Mapping = {},
    by_data: Any = None,
) -> Any:
    """A key that no program depends on: it controls the host, or selects the data.

    `by_data`: the value that leaves the choice to the data, and is the config's default. A section
    has `default` instead.
    """
    return _field(
        default, host=True, check=check, doc=doc, key=key, choices=choices, by_data=by_data
    )


def of_lane(default: Any, check: Check, doc: str) -> Any:
    """A key that no program depends on, and that may differ between the lanes of one program."""
    return _field(default, host=True, of_lane=True, check=check, doc=doc)


def choice(
    choices: Mapping[str, Any], default: str, doc: str, key: str = "", by_data: Any = None
) -> Any:
    """A static key with a fixed set of names; `by_data`: as in `host`."""
    return _field(
        default, check=name_in(choices), doc=doc, key=key, choices=choices, by_data=by_data
    )


def traced(
    default: Any,
    check: Check,
    doc: str,
    key: str = "",
    to: Callable[[Any, Facts], Any] | None = None,
    none: Any = None,
) -> Any:
    """A number that may differ between the lanes of one program.

    Args:
      to: (value, facts) -> the value in the units of the program, such as epochs as steps.
      none: the config's default, which stands for that of the section, such as 0 for no limit.
    """
    return _field(default, static=False, check=check, doc=doc, key=key, to=to, none=none)


def family(
    members: Mapping[str, type],
    default: str,
    doc: str,
    key: str = "",
    by_data: Any = None,
    interface: type = Part,
) -> Any:
    """A key that names one of `members`; the keys of a member stand beside it.

    Args:
      by_data: as in `host`.
      interface: the Protocol of the members.
    """
    given = {"check": name_in(members), "doc": doc, "key": key, "by_data": by_data}
    return _field(default, static=False, members=members, interface=interface, **given)


def families(
    members: Mapping[str, type],
    default: tuple[str, ...],
    doc: str,
    key: str = "",
    interface: type = Part,
) -> Any:
    """A key that names any number of `members`; the arguments are those of `family`."""
    given = {"check": names_in(members), "doc": doc, "key": key, "several": True}
    return _field(default, static=False, members=members, interface=interface, **given)


def fact(to: Callable[[Facts], Any] | None = None, *, is_static: bool = True) -> Any:
    """Not a key: a value from the Facts; with `to` None, it is set where a program is made."""
    conversion = None if to is None else lambda _, facts: to(facts)
    return _field(None, static=is_static, to=conversion)


@dataclass_transform(frozen_default=True)
def section(cls: type[Section]) -> type[Section]:
    """Makes a section of a class whose fields are keys."""
    cls = dataclasses.dataclass(frozen=True)(cls)
    complete(cls, Part)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    leaves = [f.name for f in fields if not f.metadata["static"]]
    fixed = [f.name for f in fields if f.metadata["static"]]

    # Not jax's register_dataclass: jax 0.10 to 0.12 treat two different classes with equal static
    # values as one structure. Here the class is part of the structure.
    def flatten(part: Any) -> tuple[list[Any], tuple[Any, ...]]:
        return [getattr(part, name) for name in leaves], aux(part)

    def flatten_with_keys(part: Any) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
        keys = [(jax.tree_util.GetAttrKey(name), getattr(part, name)) for name in leaves]
        return keys, aux(part)

    def aux(part: Any) -> tuple[Any, ...]:
        return (cls, *(getattr(part, name) for name in fixed))

    def unflatten(aux: tuple[Any, ...], children: Iterable[Any]) -> Any:
        part = object.__new__(cls)
        for name, value in (*zip(fixed, aux[1:], strict=True), *zip(leaves, children, strict=True)):
            object.__setattr__(part, name, value)
        return part

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


# Conversions, for the argument `to` of `traced`.


def in_steps(value: Any, facts: Facts) -> Any:
    """Epochs as steps."""
    return np.asarray(value) * facts.steps_per_epoch


def as_numbers(value: Any, facts: Facts) -> np.ndarray:
    """Several numbers as one leaf of the program."""
    return np.asarray(value, np.float32)


def steps_of_a_part(value: float, facts: Facts) -> float:
    """The number of steps in each of `value` equal parts of the run; infinite stays infinite."""
    return facts.total_steps / value if math.isfinite(value) else value


def name_of(f: dataclasses.Field, prefix: str) -> str:
    """The name of the key that a field declares; `prefix`: of the section's keys."""
    return f"{prefix}.{f.metadata['key'] or f.name}"


def chosen_names(value: Any) -> tuple[Any, ...]:
    """The members that the value of a family's key names: one, or any number."""
    return value if isinstance(value, tuple) else (value,)


def members_of(f: dataclasses.Field, name: str, of_user: UserSections) -> dict[str, type]:
    """{name: section}: what a field can choose, whose key is `name`; {}: it is no family."""
    members = f.metadata["members"]
    more = {member: cls for (key, member), cls in of_user.items() if key == name}
    return {**members, **more} if members else {}


def name_among(members: Mapping[str, type], part: Any) -> str:
    """The name of a part: that of its family's members, or MODULE:NAME of a user-defined one."""
    cls = type(part)
    names = (name for name, member in members.items() if member is cls)
    return next(names, f"{cls.__module__}:{cls.__name__}")


def build(
    cls: type[Section], values: Values, prefix: str, of_user: UserSections = NO_USER_SECTIONS
) -> Section:
    """A section with its checked values, in the units of the config.

    Where a value leaves the choice to the data, or says that there is no limit, the section has its
    own default.
    """
    arguments: dict[str, Any] = {}
    for f in dataclasses.fields(cls):  # type: ignore[arg-type]
        if f.metadata["check"] is None:
            continue
        name, defaults = name_of(f, prefix), (f.metadata["by_data"], f.metadata["none"])
        value, members = values[name], members_of(f, name, of_user)
        if any(default is not None and value == default for default in defaults):
            continue
        if members:
            parts: tuple[Any, ...] = tuple(
                build(members[n], values, name.rpartition(".")[0], of_user)
                for n in chosen_names(value)
            )
            value = parts if f.metadata["several"] else parts[0]
        arguments[f.name] = value
    return cls(**arguments)


def resolve(part: Section, facts: Facts) -> Section:
    """The section in the units of a program: steps for epochs, facts set, host keys at defaults."""
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
    """The section with some values changed."""
    return dataclasses.replace(part, **changes)  # type: ignore[type-var]


def parts_of(part: Any) -> Iterator[Any]:
    """The section and its chosen members, at any depth."""
    if isinstance(part, tuple):
        for one in part:
            yield from parts_of(one)
    elif dataclasses.is_dataclass(part):
        yield part
        for f in dataclasses.fields(part):
            if f.metadata["members"]:
                yield from parts_of(getattr(part, f.name))


def choices_of(part: Any, prefix: str) -> dict[str, str]:
    """{family key: name of the chosen member}, for a section."""
    choices: dict[str, str] = {}
    for f in dataclasses.fields(part):
        value, members = getattr(part, f.name), f.metadata["members"]
        if members and not f.metadata["several"]:
            name = name_of(f, prefix)
            choices[name] = name_among(members, value)
            choices |= choices_of(value, name.rpartition(".")[0])
    return choices


def changed(part: Any, at: str, only: Sequence[str] = ()) -> Iterator[tuple[str, Any]]:
    """The keys of a section that are not at their defaults, with their values.

    only: the fields; (): all. Those of chosen members are among them.
    """
    for f in dataclasses.fields(part):
        if f.metadata["check"] is None or (only and f.name not in only):
            continue
        name, value, members = name_of(f, at), getattr(part, f.name), f.metadata["members"]
        if not members:
            if value != f.metadata["default"]:
                yield name, value
            continue
        for member in chosen_names(value):
            chosen = name_among(members, member)
            if chosen != f.metadata["default"]:
                yield name, chosen
            yield from changed(member, name.rpartition(".")[0])


def stack(lanes: Sequence[Section]) -> Section:
    """Stacks sections of equal structure: float32 leaves with a leading axis of lanes.

    Where leaves differ in length, the shorter ones are padded with infinities.
    """

    def stack_leaf(*leaves: Any) -> np.ndarray:
        arrays = [np.asarray(leaf, np.float32) for leaf in leaves]
        if arrays[0].ndim == 0:
            return np.stack(arrays)
        padded = np.full((len(arrays), max(map(len, arrays))), np.inf, np.float32)
        for row, array in zip(padded, arrays, strict=True):
            row[: len(array)] = array
        return padded

    return jax.tree.map(stack_leaf, *lanes)
