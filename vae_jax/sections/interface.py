"""What a family asks of its members: a `typing.Protocol` for each, beside the family.

A required attribute is abstract. An optional one has its default in the Protocol: a member that
inherits from the Protocol has it too. A user-defined member need not inherit; it is given the
defaults when a config names it.

docs/members.md is written from the Protocols, a user-defined member is checked by them, and mypy
checks the members of the package by them.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, Protocol


class Part(Protocol):
    """A part that a config can choose."""

    def needs(self, config: Any, /) -> Iterable[str]:
        """What is wrong with the other choices of the config: sentences."""
        return ()

    def needs_of_data(self, config: Any, data: Any, /) -> Iterable[str]:
        """What is wrong with the data for it: sentences."""
        return ()

    def idle(self, config: Any, /) -> Iterable[tuple[str, str]]:
        """Which of its keys are set without effect: (key, sentence) pairs."""
        return ()


def owned(cls: type) -> dict[str, Any]:
    """{name: attribute} of a class, with what it inherits, and the fields of a dataclass."""
    names: dict[str, Any] = {}
    for base in reversed(cls.__mro__[:-1]):  # not `object`
        names |= vars(base)
    fields: tuple = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    return names | {field.name: field for field in fields}


def is_required(attribute: Any) -> bool:
    """Whether the attribute of an interface is abstract."""
    return getattr(attribute, "__isabstractmethod__", False)


def attributes(interface: type) -> dict[str, Any]:
    """{name: function or property} of an interface, those of `Part` last."""
    names: dict[str, Any] = {}
    for base in interface.__mro__[:-1]:
        public = {n: value for n, value in vars(base).items() if n == "__call__" or n[0] != "_"}
        names |= {name: value for name, value in public.items() if name not in names}
    return names


def missing(cls: type, interface: type) -> list[str]:
    """The required attributes that a class lacks, in the order of the interface."""
    names = owned(cls)
    required = [name for name, value in attributes(interface).items() if is_required(value)]
    return [name for name in required if name not in names or is_required(names[name])]


def complete(cls: type, interface: type) -> None:
    """Gives a class the defaults of the optional attributes that it lacks."""
    names = owned(cls)
    for name, value in attributes(interface).items():
        if name not in names and not is_required(value):
            setattr(cls, name, value)
