"""docs/members.md, what each family asks of a member, written from the families' Protocols.

python -m vae_jax.config.members > docs/members.md
"""

import inspect
from typing import Any

from vae_jax.config.declared import families_of
from vae_jax.config.schema import SECTIONS
from vae_jax.objectives.interface import SampleBound
from vae_jax.probability.interface import (
    LatentDistribution,
    LikelihoodDistribution,
    PosteriorDistribution,
)
from vae_jax.sections.interface import Part, attributes, is_required
from vae_jax.words import page

# {family key: (title, Protocols beside that of its members)}, in the order of the page.
TITLES: dict[str, tuple[str, tuple[type, ...]]] = {
    "model.likelihood": ("A likelihood", (LikelihoodDistribution,)),
    "model.prior": ("A prior", (LatentDistribution,)),
    "model.posterior": ("A posterior", (PosteriorDistribution,)),
    "model.encoder.name": ("An encoder", ()),
    "model.decoder.name": ("A decoder", ()),
    "model.name": ("A model", ()),
    "objective.name": ("An objective", (SampleBound,)),
    "objective.regularizer": ("A regulariser", ()),
    "objective.corruption": ("A corruption", ()),
    "optimizer.name": ("An optimiser", ()),
    "optimizer.schedule.name": ("A schedule", ()),
    "dataset.name": ("A dataset", ()),
    "dataset.augmentation": ("An augmentation", ()),
    "evaluation.metrics": ("A metric", ()),
    "search.name": ("A rule of searches", ()),
    "log.figures": ("A figure", ()),
}
HEAD = """\
# What a family asks of a member

Each value that names a member of a family may be a member of your own, `MODULE:NAME`
([how](extending.md), [an example of each kind](own_parts.md)). A member is a class under
`@section` of `vae_jax.sections.declare`. It has the attributes of its family, listed here. A class
may inherit from the Protocol that is named: then mypy and an editor check it. It need not.

An argument's name may be another one in your code: all are passed by position.
"""
OF_ALL = """
## Every member

What is wrong with a config is said by the parts that it concerns, in sentences for the user.
"""


def lacks(key: str, name: str, lacking: list[str], interface: type) -> str:
    """The error message for a member of a family key that lacks attributes of an interface."""
    wanted, title = attributes(interface), TITLES[key][0].lower()
    said = ", no ".join(call_of(attribute, wanted[attribute]) for attribute in lacking)
    anchor = title.replace(" ", "-")
    return f"{name} has no {said}; what {title} has: {page(f'members#{anchor}')}"


def doc_of(attribute: Any) -> str:
    return " ".join((inspect.getdoc(attribute) or "").split())


def call_of(name: str, attribute: Any) -> str:
    """`name`, or `name(arguments)` of a method."""
    if isinstance(attribute, property):
        return name
    names = [
        argument.name
        if argument.default is argument.empty
        else f"{argument.name}={argument.default}"
        for argument in list(inspect.signature(attribute).parameters.values())[1:]
    ]
    return f"{name}({', '.join(names)})"


def default_of(attribute: Any) -> str:
    """What an optional property is where a member lacks it."""
    is_optional = isinstance(attribute, property) and not is_required(attribute)
    if not (is_optional and attribute.fget):
        return ""
    default = attribute.fget(None)
    return " Default: the empty text." if default == "" else f" Default: `{default}`."


def table(interface: type, without: type) -> list[str]:
    """The attributes of a Protocol but for those of another, the required ones first."""
    shown = {n: a for n, a in attributes(interface).items() if n not in attributes(without)}
    lines, bar = [], "\\|"
    for head, wanted in (("it has", True), ("it may have", False)):
        rows = [
            f"| `{call_of(name, value)}` | {doc_of(value).replace('|', bar)}{default_of(value)} |"
            for name, value in shown.items()
            if is_required(value) == wanted
        ]
        lines += ["", f"| {head} | |", "|---|---|", *rows] if rows else []
    return lines


def members_page() -> str:
    """docs/members.md."""
    families = families_of(SECTIONS)
    lines = [HEAD.rstrip()]
    for key, (title, beside) in TITLES.items():
        interface = families[key].interface
        lines += ["", f"## {title}", "", f"`{key}`. {heading(interface)}", *table(interface, Part)]
        for other in beside:
            is_more = interface in other.__mro__
            lines += ["", heading(other), *table(other, interface if is_more else Part)]
    lines += [OF_ALL.rstrip(), *table(Part, object)]
    return "\n".join(lines) + "\n"


def heading(interface: type) -> str:
    """What a Protocol is, and where."""
    return f"{doc_of(interface)} Protocol: `{interface.__module__}.{interface.__name__}`."


if __name__ == "__main__":
    print(members_page(), end="")
