"""What every encoder and decoder does. A new one is a row of MEMBERS."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.small.samples import normal, sampled
from vae_jax.networks import MLP, NETWORKS, Conv, GatedMLP, ResidualMLP, ResNet
from vae_jax.networks.grid import Grid
from vae_jax.networks.network import ACTIVATIONS, Heads
from vae_jax.networks.spectral import SpectralMLP

MAKE = {
    "mlp": MLP,
    "gated_mlp": lambda widths, activation: GatedMLP(widths),
    "residual_mlp": ResidualMLP,
    "spectral_mlp": SpectralMLP,
    "conv": Conv,
    "resnet": ResNet,
    "resnet, group": lambda widths, activation: ResNet(widths, activation, "group"),
}
# name, the decoder's layers that see z
MEMBERS = [
    ("mlp", ("hidden_0",)),
    ("gated_mlp", ("hidden_0", "gate_0")),
    ("residual_mlp", ("hidden_0",)),
    ("spectral_mlp", ("hidden_0",)),
    ("conv", ("map",)),
    ("resnet", ("map",)),
    ("resnet, group", ("map",)),
]
SHAPES = [(1, 1, 1), (3, 5, 2), (7, 4, 3), (8, 8, 1)]
WIDTHS = [(), (6,), (6, 5)]
# All widths, in three of the twelve pairs.
PAIRS = [((1, 1, 1), (6,)), ((3, 5, 2), (6, 5)), ((7, 4, 3), ())]
OTHER_PAIRS = [pair for pair in itertools.product(SHAPES, WIDTHS) if pair not in PAIRS]

# A residual network with norms says all that one without has.
every_member = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name == "resnet")) for name in MAKE],
)
MEMBERS_WITH_ALL = ("mlp", "spectral_mlp", "resnet, group")
# The first and the last layer, masks and lanes are of shared code: three members have all of it.
one_of_each_kind = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in MEMBERS_WITH_ALL))
        for name in MAKE
    ],
)
with_widths_or_none = pytest.mark.parametrize(
    "widths", [(6, 5), pytest.param((), marks=pytest.mark.slow)]
)


def heads_of(latent_size: int) -> Heads:
    return (("mean", latent_size), ("log_scale", latent_size))


def build(name, widths=(6, 5), shape=(3, 5, 2), latent_size=3, context_size=0, p=2, act="elu"):
    """The encoder and the decoder of one kind; the decoder's widths are the encoder's, reversed."""
    encoder, decoder = MAKE[name](widths, act), MAKE[name](widths[::-1], act)
    return (
        encoder.encoder(shape, heads_of(latent_size), context_size),
        decoder.decoder(shape, p, latent_size, context_size),
    )


def starts_and_applies(name, latent_size):
    """Both functions of a pair with context: its params of a key, its outputs of these."""
    encoder, decoder = build(name, latent_size=latent_size, context_size=2)

    def starts(key, mask_l):
        return encoder.init(key, mask_l), decoder.init(jax.random.clone(key), None, mask_l)

    def applies(params, x, z, context):
        return encoder.apply(params[0], x, context), decoder.apply(params[1], z, context)

    return starts, applies


@functools.cache
def compiled(name, latent_size):
    return tuple(map(jax.jit, starts_and_applies(name, latent_size)))


def test_the_table_is_complete():
    # Units of a grid are as many as its places: tests/networks/test_grid.py.
    here = {type(MAKE[name]((6,), "elu")) for name, _ in MEMBERS} | {Grid}
    assert here == set(NETWORKS.values())


@every_member
@pytest.mark.parametrize(
    ("shape", "widths"),
    [*PAIRS, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in OTHER_PAIRS)],
)
def test_shapes_of_any_image(name, shape, widths):
    d = int(np.prod(shape))
    encoder, decoder = build(name, widths, shape, context_size=2)

    def everything(key):
        params = encoder.init(key), decoder.init(jax.random.clone(key))
        x, z, context = jnp.ones((4, d)), jnp.ones((4, 3)), jnp.ones((4, 2))
        outputs = encoder.apply(params[0], x, context), decoder.apply(params[1], z, context)
        return params, *outputs

    params, heads, x_params = jax.eval_shape(everything, jax.random.key(0))
    assert {head: out.shape for head, out in heads.items()} == dict.fromkeys(
        ("mean", "log_scale"), (4, 3)
    )
    assert x_params.shape == (4, d, 2)
    leaves = jax.tree.leaves((params, heads, x_params))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}


@every_member
def test_heads_have_their_own_sizes(name):
    encoder = MAKE[name]((6,), "relu").encoder((3, 5, 2), (("mean", 3), ("context", 4)))
    outputs = jax.eval_shape(encoder.apply, sampled(encoder), jnp.ones((2, 30)))
    assert {head: output.shape for head, output in outputs.items()} == {
        "mean": (2, 3),
        "context": (2, 4),
    }
    with pytest.raises(ValueError, match="cannot be masked by 3 latent units"):
        jax.eval_shape(encoder.init, jax.random.key(0), jnp.ones(3))


@every_member
@with_widths_or_none
def test_the_context_is_seen(name, widths):
    encoder, decoder = build(name, widths, context_size=3)
    labels = np.eye(3, dtype=np.float32)
    x, z = np.tile(normal(0, 1, 30), (3, 1)), np.tile(normal(1, 1, 3), (3, 1))

    @jax.jit
    def outputs(params, context):
        mean = encoder.apply(params[0], x, context)["mean"]
        return mean, decoder.apply(params[1], z, context)

    for out in map(np.asarray, outputs((sampled(encoder), sampled(decoder)), labels)):
        assert (abs(out[0] - out[1]) > 1e-4).mean() > 0.9
        assert (abs(out[0] - out[2]) > 1e-4).mean() > 0.9


def test_a_context_of_another_size_is_refused():
    encoder, decoder = build("mlp", context_size=3)
    params = sampled(encoder), sampled(decoder)
    with pytest.raises(ValueError, match=r"\(4, 0\), where this network takes \(4, 3\)"):
        encoder.apply(params[0], jnp.ones((4, 30)))
    with pytest.raises(ValueError, match=r"\(4, 2\), where this network takes \(4, 3\)"):
        decoder.apply(params[1], jnp.ones((4, 3)), jnp.ones((4, 2)))
    encoder, _ = build("mlp")
    with pytest.raises(ValueError, match="takes"):
        encoder.apply(sampled(encoder), jnp.ones((4, 30)), jnp.ones((4, 1)))


@one_of_each_kind
def test_a_latent_unit_s_first_weights_depend_on_key_and_unit_alone(name):
    first_layers = dict(MEMBERS)[name]
    small = compiled(name, 2)[0](jax.random.key(1), None)
    large = compiled(name, 4)[0](jax.random.key(1), np.ones(4, np.float32))
    for layer in small[0]:
        first_units = {leaf: weights[..., :2] for leaf, weights in large[0][layer].items()}
        own = first_units if layer in dict(heads_of(2)) else large[0][layer]
        jax.tree.map(np.testing.assert_array_equal, own, small[0][layer])
    for layer in small[1]:
        if layer not in first_layers:
            jax.tree.map(np.testing.assert_array_equal, large[1][layer], small[1][layer])
            continue
        # Up to the scale 1 / sqrt(c + l), which keeps the variance of what comes out.
        np.testing.assert_allclose(
            np.sqrt(2 + 4) * large[1][layer]["kernel"][: 2 + 2],
            np.sqrt(2 + 2) * small[1][layer]["kernel"],
            rtol=1e-5,
        )


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "grid"])
def test_first_and_last_weights_have_the_stated_variance(name):
    first = next(layers[0] for member, layers in MEMBERS if member == name)
    encoder, decoder = build(name, widths=(500,), latent_size=9, context_size=3)
    kernels = jax.jit(
        lambda key: (encoder.init(key)["mean"]["kernel"], decoder.init(key)[first]["kernel"])
    )(jax.random.key(1))
    assert abs(np.var(kernels[0]) * len(kernels[0]) - 1) < 0.1
    assert abs(np.var(kernels[1]) * (3 + 9) - 1) < 0.1


@one_of_each_kind
def test_a_masked_network_is_the_network_of_the_units_that_are_left(name):
    context, x = normal(0, 5, 2), normal(1, 5, 30)
    z = normal(2, 5, 4)  # the padded z may be anything
    starts, applies = compiled(name, 4)
    params = starts(jax.random.key(0), np.array([1, 1, 0, 0], np.float32))
    masked = params, applies(params, x, z, context)
    starts, applies = compiled(name, 2)
    params = starts(jax.random.key(0), None)
    alone = params, applies(params, x, z[:, :2], context)
    assert_is_first_units(masked, alone)


@pytest.mark.slow
@every_member
def test_a_masked_network_without_widths_is_that_of_the_units_that_are_left(name):
    large, small = (build(name, (), latent_size=size) for size in (4, 2))
    x, z = normal(1, 5, 30), normal(2, 5, 4)

    def params_and_outputs(pair, z, mask_l=None):
        params = [
            jax.jit(pair[0].init)(jax.random.key(0), mask_l),
            jax.jit(pair[1].init)(jax.random.key(0), None, mask_l),
        ]
        return params, [net.apply(own, x) for net, own, x in zip(pair, params, (x, z), strict=True)]

    masked = params_and_outputs(large, z, np.array([1, 1, 0, 0], np.float32))
    assert_is_first_units(masked, params_and_outputs(small, z[:, :2]))


def assert_is_first_units(masked, alone):
    """Of every leaf, and the rest of it is 0."""
    for leaf, own in zip(*map(jax.tree.leaves, (masked, alone)), strict=True):
        within = tuple(map(slice, own.shape))
        np.testing.assert_allclose(leaf[within], own, rtol=1e-4, atol=1e-5)
        outside = np.array(leaf)
        outside[within] = 0
        assert (outside == 0).all()


@every_member
@with_widths_or_none
def test_a_bias_for_each_channel_and_parameter_comes_out_there(name, widths):
    """Index d is (height, width, channel), the channel fastest; the parameters are last."""
    _, decoder = build(name, widths, latent_size=4, context_size=2)
    channel_dp, parameter_dp = np.meshgrid(np.arange(30) % 2, np.arange(2), indexing="ij")
    bias_dp = np.float32(10 * channel_dp + parameter_dp)

    @jax.jit
    def starts(key, bias_dp):
        params = decoder.init(key, bias_dp)
        # Every other bias starts at 0, so that nothing else is seen.
        at_zero = decoder.apply(params, jnp.zeros((2, 4)), jnp.zeros((2, 2)))
        return at_zero, decoder.init(jax.random.clone(key))["output"]["bias"]

    at_zero, own_bias = starts(jax.random.key(0), bias_dp)
    np.testing.assert_allclose(at_zero, np.stack([bias_dp, bias_dp]), atol=1e-6)
    assert not own_bias.any()


@every_member
@pytest.mark.parametrize("shape", [(7, 4, 3), pytest.param((1, 1, 1), marks=pytest.mark.slow)])
def test_gradients_are_nowhere_dead_and_finite_at_huge_inputs(name, shape):
    encoder, decoder = build(name, shape=shape, context_size=2)

    def loss(params, x, z, context):
        outputs = encoder.apply(params[0], x, context), decoder.apply(params[1], z, context)
        return sum(jnp.sum(jnp.sin(leaf + 1)) for leaf in jax.tree.leaves(outputs))

    loss_and_gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))
    params = sampled(encoder), sampled(decoder)
    x, z, context = normal(0, 6, int(np.prod(shape))), normal(1, 6, 3), normal(2, 6, 2)
    _, gradients = loss_and_gradients(params, x, z, context)
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.abs(gradient).max() > 1e-4, path

    at_huge = loss_and_gradients(params, 1e4 * np.sign(x), 1e4 * np.sign(z), context)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(at_huge))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_finite_with_finite_slopes(activation):
    x = np.float32([-1e4, -1.0, 0.0, 1.0, 1e4])
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(ACTIVATIONS[activation])))(x)
    assert np.isfinite(values).all()
    assert np.isfinite(slopes).all()


@every_member
def test_the_activation_is_used_but_where_gates_take_its_place(name):
    x, z = normal(0, 4, 30), normal(1, 4, 3)
    both = [build(name, act=activation) for activation in ("elu", "tanh")]

    @jax.jit
    def outputs(params):
        return [
            (encoder.apply(params[0], x)["mean"], decoder.apply(params[1], z))
            for encoder, decoder in both
        ]

    found = outputs(tuple(map(sampled, both[0])))
    for elu, tanh in zip(*found, strict=True):
        assert (np.abs(elu - tanh).max() > 1e-2) == (name != "gated_mlp")


@every_member
def test_without_widths_it_is_affine(name):
    encoder, decoder = build(name, widths=())

    @jax.jit
    def outputs(params, x, z):
        return encoder.apply(params[0], x)["mean"], decoder.apply(params[1], z)

    a, b = (np.float32([normal(i, 4, 30), normal(2 + i, 4, 30)]) for i in range(2))
    for first, second, middle in zip(
        *(
            outputs((sampled(encoder), sampled(decoder)), x, z[:, :3])
            for x, z in (a, b, (a + b) / 2)
        ),
        strict=True,
    ):
        np.testing.assert_allclose(middle, (first + second) / 2, rtol=1e-4, atol=1e-5)


@one_of_each_kind
def test_lanes_are_networks_of_their_own(name):
    x, z, context = normal(0, 5, 30), normal(1, 5, 4), normal(2, 5, 2)
    mask_l = np.ones(4, np.float32)

    def lane(key):
        starts, applies = starts_and_applies(name, 4)
        params = starts(key, mask_l)
        return params, applies(params, x, z, context)

    def keys():
        return jax.random.split(jax.random.key(0), 3)

    lanes, (starts, applies) = jax.jit(jax.vmap(lane))(keys()), compiled(name, 4)
    for i, key in enumerate(keys()):
        params = starts(key, mask_l)
        alone = params, applies(params, x, z, context)
        for leaf, own in zip(*map(jax.tree.leaves, (lanes, alone)), strict=True):
            np.testing.assert_allclose(leaf[i], own, rtol=1e-4, atol=1e-5)
