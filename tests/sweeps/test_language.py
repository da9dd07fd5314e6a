"""The language of sweeps."""

import math

import numpy as np
import pytest

from vae_jax.errors import UserError
from vae_jax.sweeps import language as hyper


def test_sweep_and_fixed():
    assert hyper.sweep("a", (1, 2)) == [{"a": 1}, {"a": 2}]
    assert hyper.fixed("a", 3) == [{"a": 3}]
    assert hyper.sweep("a", ()) == []


def test_product_is_every_combination_the_last_part_changing_fastest():
    parts = [hyper.sweep("a", (1, 2)), hyper.sweep("b", "xy"), hyper.fixed("c", 0)]
    assert hyper.product(parts) == [
        {"a": 1, "b": "x", "c": 0},
        {"a": 1, "b": "y", "c": 0},
        {"a": 2, "b": "x", "c": 0},
        {"a": 2, "b": "y", "c": 0},
    ]


def test_zipit_goes_through_its_parts_together():
    both = hyper.zipit([hyper.sweep("a", (1, 2)), hyper.sweep("b", (3, 4))])
    assert both == [{"a": 1, "b": 3}, {"a": 2, "b": 4}]
    with pytest.raises(UserError, match=r"parts of one length; these have \[2, 3\]"):
        hyper.zipit([hyper.sweep("a", (1, 2)), hyper.sweep("b", (3, 4, 5))])


def test_chainit_puts_one_part_behind_another():
    chained = hyper.chainit([hyper.sweep("a", (1, 2)), hyper.fixed("b", 3)])
    assert chained == [{"a": 1}, {"a": 2}, {"b": 3}]


@pytest.mark.parametrize("combine", [hyper.product, hyper.zipit])
def test_a_key_set_twice_is_refused(combine):
    with pytest.raises(UserError, match="'a' is set twice"):
        combine([hyper.sweep("a", (1, 2)), hyper.sweep("a", (3, 4))])


def values(distribution, n=2000, seed=0, key="a"):
    return [overrides[key] for overrides in hyper.sample(key, distribution, n, seed)]


def test_uniform_and_log_uniform_are_what_they_say():
    sampled = np.array(values(hyper.uniform(-2, 6)))
    assert sampled.min() >= -2
    assert sampled.max() <= 6
    assert np.histogram(sampled, 4, (-2, 6))[0] == pytest.approx([500] * 4, rel=0.15)
    sampled = np.log10(values(hyper.log_uniform(1e-4, 1)))
    assert np.histogram(sampled, 4, (-4, 0))[0] == pytest.approx([500] * 4, rel=0.15)


def test_choice_takes_all_values_equally_often():
    sampled = values(hyper.choice(((1,), (2, 3), "x")))
    assert [sampled.count(v) for v in ((1,), (2, 3), "x")] == pytest.approx([667] * 3, rel=0.15)


def test_samples_depend_on_seed_and_key_alone():
    one = hyper.uniform(0, 1)
    assert values(one, 5) == values(one, 5)
    assert values(one, 3) == values(one, 5)[:3]
    assert values(one, 5) != values(one, 5, seed=1)
    assert values(one, 5) != values(one, 5, key="b")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: hyper.uniform(1, 1), "lower number first"),
        (lambda: hyper.log_uniform(0, 1), "above 0"),
        (lambda: hyper.log_uniform(2, 1), "lower one first"),
        (lambda: hyper.uniform(math.nan, 1), "lower number first"),
        (lambda: hyper.choice(()), "at least one"),
    ],
)
def test_a_distribution_that_is_none_is_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        wrong()
