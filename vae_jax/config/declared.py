"""The keys that the sections declare, and how the values of a config are checked by them."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from vae_jax.errors import UserError
from vae_jax.sections.checks import Check, name_in, names_in, plain, written
from vae_jax.sections.declare import (
    NO_USER_SECTIONS,
    UserSections,
    Values,
    chosen_names,
    members_of,
    name_of,
)


class Reader(NamedTuple):
    """A member that reads a key."""

    when: tuple[tuple[str, str], ...]  # (family key, name) pairs that must all be chosen
    check: Check
    doc: str
    choices: tuple[str, ...]  # the names that it allows; (): any value


class Key(NamedTuple):
    """A config key."""

    default: Any
    is_traced: bool
    choices: Mapping[str, Any]  # {allowed name: section or description}; {}: any value
    is_family: bool
    readers: tuple[Reader, ...]
    by_data: Any = None  # the value that leaves the choice to the data; None: there is none
    is_of_lane: bool = False  # may differ between the lanes of a program, which does not take it


def keys_of(
    sections: Mapping[str, type], of_user: UserSections = NO_USER_SECTIONS
) -> dict[str, Key]:
    """Every key of the sections and of their members, in the order of declaration.

    Args:
      of_user: user-defined members, which the families have too.

    Raises:
      TypeError: two members declare a key with different defaults, or one static and one traced.
    """
    keys: dict[str, Key] = {}

    def declare(cls: type, prefix: str, when: tuple[tuple[str, str], ...]) -> None:
        for f in dataclasses.fields(cls):
            meta = f.metadata
            if meta["check"] is None:
                continue
            name, by_data = name_of(f, prefix), meta["by_data"]
            members = members_of(f, name, of_user)
            choices = dict(members or meta["choices"])
            if choices and by_data is not None:
                choices[by_data] = "by what the images are"
            words = (word for word in (by_data, meta["none"]) if word is not None)
            key = Key(
                next(words, meta["default"]),
                not meta["static"] and not meta["members"],
                choices,
                bool(meta["members"]),
                (),
                by_data,
                meta["of_lane"],
            )
            old = keys.get(name, key)
            if old[:2] != key[:2]:
                raise TypeError(f"{name} is declared twice, in two ways")
            check = meta["check"]
            if members:
                check = names_in(members) if meta["several"] else name_in(members)
            if by_data is not None:
                check = or_by_data(by_data, check)
            readers = (*old.readers, Reader(when, check, meta["doc"], tuple(key.choices)))
            keys[name] = old._replace(choices={**old.choices, **key.choices}, readers=readers)
            for member, section in members.items():
                declare(section, name.rpartition(".")[0], (*when, (name, member)))

    for name, cls in sections.items():
        declare(cls, name, ())
    return keys


class Family(NamedTuple):
    """What a family key can choose."""

    members: dict[str, type]
    interface: type  # the Protocol of its members


def families_of(
    sections: Mapping[str, type], of_user: UserSections = NO_USER_SECTIONS
) -> dict[str, Family]:
    """{family key: its family}; of_user: as in `keys_of`."""
    families: dict[str, Family] = {}

    def visit(cls: type, prefix: str) -> None:
        for f in dataclasses.fields(cls):
            name = name_of(f, prefix)
            if members := members_of(f, name, of_user):
                families[name] = Family(members, f.metadata["interface"])
                for member in members.values():
                    visit(member, name.rpartition(".")[0])

    for name, cls in sections.items():
        visit(cls, name)
    return families


def or_by_data(by_data: Any, check: Check) -> Check:
    """The check, which takes the value `by_data` too."""

    def either(key: str, value: Any) -> Any:
        same = type(value) is type(by_data) and value == by_data
        return value if same else check(key, value)

    return either


def is_chosen(when: tuple[tuple[str, str], ...], values: Values) -> bool:
    return all(name in chosen_names(values[key]) for key, name in when)


def is_read(key: Key, values: Mapping[str, Any]) -> bool:
    """Whether a chosen member reads the key, in a flat config."""
    return any(
        all(name in chosen_names(values.get(family)) for family, name in reader.when)
        for reader in key.readers
    )


def normalised(keys: Mapping[str, Key], flat: Mapping[str, Any]) -> tuple[Values, list[str]]:
    """The checked values, and the idle keys: those set although no chosen member reads them.

    A key that no chosen member reads gets its default.

    Raises:
      UserError: an invalid value.
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
            given = plain(flat[name])
            if (tuple(given) if isinstance(given, list) else given) != key.default:
                idle.append(name)
    return {name: values[name] for name in keys}, idle


def checked(reader: Reader, key: Key, name: str, value: Any) -> Any:
    """The value, checked by the reader.

    Raises:
      UserError: it is invalid, or it is a name that only other readers allow.
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
    """The error message for an idle key: why it has no effect, and how to correct it."""
    key = keys[name]
    family, names = next(
        (family, dict.fromkeys(r.when[i][1] for r in key.readers if len(r.when) > i))
        for i in range(max(len(r.when) for r in key.readers))
        for family in (key.readers[0].when[i][0],)
        if not any(is_chosen(r.when[: i + 1], values) for r in key.readers)
    )
    readers = " or ".join(map(repr, names))
    return (
        f"{name} = {written(given)} has no effect: it is for {family} = {readers}, and that is "
        f"{values[family]!r}; leave it out, or set it to its default: "
        f"--config.{name}={as_flag(key.default)}"
    )


def as_flag(value: Any) -> str:
    """The value in the syntax of the command line."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
