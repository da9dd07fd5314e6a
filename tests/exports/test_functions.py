"""The exported functions are those of the model, for any batch size; no training is needed."""

import jax
import numpy as np
import pytest
from jax import export as jax_export

from tests.small.exports import KINDS
from tests.small.runs import values_of, write_tiny_npz
from vae_jax.config.check import check
from vae_jax.config.schema import nest
from vae_jax.errors import UserError
from vae_jax.exports.functions import FUNCTIONS, exported, flattened, unflattened
from vae_jax.functions import decode, elbo
from vae_jax.models.model import generate, layer_sizes, picture, posterior_mean
from vae_jax.runs.run import first_state, lane_model, make_run


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    return write_tiny_npz(tmp_path_factory.mktemp("exports") / "tiny.npz")


def untrained(npz, tmp_path, changes):
    """A lane before training, its params moved by noise, so that nothing is 0."""
    config = check(nest(values_of(npz) | {"training.seeds": (4,)} | changes), idle_allowed=True)
    run = make_run(config, tmp_path)
    variables = jax.device_get(first_state(run).variables)
    rng = np.random.default_rng(0)

    def moved(leaf):
        noise = 0.1 * rng.standard_normal(leaf.shape)
        return (leaf + noise).astype(leaf.dtype) if leaf.dtype.kind == "f" else leaf

    all_variables = variables | {"params": jax.tree.map(moved, variables["params"])}
    return run, *lane_model(run, jax.device_put(all_variables), 0)


def agree(found, expected):
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


def assert_same(run, model, variables, without):
    """Every function gives what the library does, and is left out where that refuses it."""
    reads_labels = run.spec.model.abilities.reads_labels
    labels = np.array([0, 1, 2], np.int32) if reads_labels else None
    size = sum(layer_sizes(model, variables, None if labels is None else labels[:1]))
    x = run.data.test.images[:3].astype(np.float32) / np.float32(255)
    rng = np.random.default_rng(1)
    z = rng.standard_normal((3, size)).astype(np.float32)
    keys = np.array([[0, 5], [0, 6], [0, 7]], np.uint32)
    sizes, flat, missing = {"d": 36, "l": size, "2": 2}, flattened(variables), []
    arguments = {"encode": [x], "decode": [z], "generate": [keys], "elbo": [keys, x]}

    def single(function, *rows):
        """The library's, one example at a time."""
        y = [None] * 3 if labels is None else np.split(labels, 3)
        return np.concatenate(list(map(function, *(np.split(row, 3) for row in rows), y)))

    def key(row):
        return jax.random.key(int(row[0, 1]))

    shown = jax.random.key(0)
    expected = {
        "encode": lambda: single(lambda x, y: posterior_mean(model, variables, x, y), x),
        "decode": lambda: single(
            lambda z, y: picture(decode(model, variables, z, y), jax.random.clone(shown)), z
        ),
        "generate": lambda: single(lambda k, y: generate(model, variables, key(k), 1, y), keys),
        "elbo": lambda: single(lambda k, x, y: elbo(model, variables, key(k), x, y), keys, x),
    }
    for name in FUNCTIONS:
        try:
            found = exported(name, model, variables, sizes, reads_labels=reads_labels)
        except UserError:
            missing.append(name)
            continue
        call = jax.jit(jax_export.deserialize(bytearray(found.serialized)).call)
        for n in (3, 1):
            rows = [*arguments[name], *([] if labels is None else [labels])]
            given = call(flat, *(row[-n:] for row in rows))
            assert given.keys() == found.returns.keys() if name == "encode" else True
            agree(given["mean"] if name == "encode" else given, expected[name]()[-n:])
    assert tuple(missing) == without


def test_plain(npz, tmp_path):
    assert_same(*untrained(npz, tmp_path, {}), ())


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind(npz, tmp_path, kind):
    changes, without = KINDS[kind]
    assert_same(*untrained(npz, tmp_path, changes), without)


def test_params_are_flat_and_back(npz, tmp_path):
    _, _, variables = untrained(npz, tmp_path, {"model.encoder.inputs": "standardized"})
    flat = flattened(variables)
    assert list(flat) == sorted(flat)
    assert "params/encoder/mean/kernel" in flat
    assert any(name.startswith("stats/") for name in flat)
    again = unflattened(flat, variables)
    assert jax.tree.structure(again) == jax.tree.structure(variables)
    jax.tree.map(np.testing.assert_array_equal, again, variables)
