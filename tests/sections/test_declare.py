"""What follows from the declaration of a key."""

from typing import Any

import jax
import numpy as np
import pytest

from vae_jax.config.declared import idle_problem, keys_of, normalised
from vae_jax.errors import UserError
from vae_jax.sections.checks import number, whole
from vae_jax.sections.declare import (
    Facts,
    build,
    family,
    host,
    in_steps,
    resolve,
    section,
    stack,
    static,
    traced,
)


@section
class Plain:
    """Reads a size."""

    size: int = static(2, whole(1), "its size")


@section
class Other:
    """Reads the same size, and a weight."""

    size: int = static(2, whole(1), "its size")
    weight: float = traced(0.5, number(0), "its weight")


@section
class Whole:
    """A section."""

    kind: Any = family({"plain": Plain, "other": Other}, "plain", "which", key="name")
    steps: float = traced(1.0, number(0), "epochs", key="epochs", to=in_steps)
    seen: bool = host(True, lambda key, value: value, "what the host does")


KEYS = keys_of({"whole": Whole})
FACTS = Facts((1, 1, 1), 0, 10, 5, 50)


def values_of(**changes):
    flat = {name: key.default for name, key in KEYS.items()}
    flat |= {f"whole.{key}": value for key, value in changes.items()}
    return normalised(KEYS, flat)


def test_every_key_is_declared_once_in_order_and_its_readers_known():
    assert list(KEYS) == ["whole.name", "whole.size", "whole.weight", "whole.epochs", "whole.seen"]
    assert [name for name, key in KEYS.items() if key.is_traced] == ["whole.weight", "whole.epochs"]
    assert [reader.when for reader in KEYS["whole.size"].readers] == [
        (("whole.name", "plain"),),
        (("whole.name", "other"),),
    ]


def test_a_key_declared_twice_and_not_alike_is_an_error():
    @section
    class Disagreeing:
        size: int = static(3, whole(1), "its size")

    @section
    class Both:
        kind: Any = family({"plain": Plain, "other": Disagreeing}, "plain", "which")

    with pytest.raises(TypeError, match=r"both.size is declared twice"):
        keys_of({"both": Both})


def test_structures_of_different_members_are_different():
    """jax's own register_dataclass has them equal, where their static values are."""

    @section
    class Twin:
        size: int = static(2, whole(1), "its size")

    one, other = jax.tree.structure(Plain()), jax.tree.structure(Twin())
    assert one != other
    assert hash(one) == hash(jax.tree.structure(Plain()))
    assert one == jax.tree.structure(Plain(2))
    assert one != jax.tree.structure(Plain(3))


def test_a_section_is_built_and_resolved():
    values, idle = values_of(name="other", weight=2, epochs=3, seen=False)
    assert idle == []
    assert values["whole.weight"] == 2.0
    part = build(Whole, values, "whole")
    assert part == Whole(Other(2, 2.0), 3.0, False)
    resolved = resolve(part, FACTS)
    assert (resolved.steps, resolved.seen) == (15.0, True)
    assert jax.tree.leaves(resolved) == [2.0, 15.0]


def test_a_key_that_nothing_chosen_reads():
    values, idle = values_of(weight=2.0)
    assert idle == ["whole.weight"]
    assert values["whole.weight"] == 0.5
    line = idle_problem(KEYS, values, "whole.weight", 2.0)
    assert "it is for whole.name = 'other', and that is 'plain'" in line
    assert "--config.whole.weight=0.5" in line
    with pytest.raises(UserError, match=r"whole.weight = -1 should be a number, at least 0"):
        values_of(name="other", weight=-1)


def test_lanes_are_stacked_and_shorter_leaves_filled_up():
    lanes = [Whole(Other(2, w), np.array(s)) for w, s in ((1.0, [1.0]), (2.0, [3.0, 4.0]))]
    both = stack(lanes)
    np.testing.assert_array_equal(both.kind.weight, np.float32([1, 2]))
    np.testing.assert_array_equal(both.steps, np.float32([[1, np.inf], [3, 4]]))
    assert both.kind.size == 2
