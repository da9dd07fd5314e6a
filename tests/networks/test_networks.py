"""What every encoder and decoder does. A new one is a row of MEMBERS."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.networks.draws import drawn, normal
from vae_jax.networks import DECODERS, ENCODERS
from vae_jax.networks.network import ACTIVATIONS, Heads, NetworkSpec

# name, norm, the decoder's layers that see z
MEMBERS = [
    ("mlp", "none", ("hidden_0",)),
    ("gated_mlp", "none", ("hidden_0", "gate_0")),
    ("residual_mlp", "none", ("hidden_0",)),
    ("conv", "none", ("map",)),
    ("resnet", "none", ("map",)),
    ("resnet", "group", ("map",)),
]
SHAPES = [(1, 1, 1), (3, 5, 2), (7, 4, 3), (8, 8, 1)]
WIDTHS = [(), (6,), (6, 5)]

every_member = pytest.mark.parametrize(
    ("name", "norm"), [(name, norm) for name, norm, _ in MEMBERS]
)


def heads_of(latent_size: int) -> Heads:
    return (("mean", latent_size), ("log_scale", latent_size))


def build(
    name, norm="none", widths=(6, 5), shape=(3, 5, 2), latent_size=3, context_size=0, p=2, act="elu"
):
    """The encoder and the decoder of one kind; the decoder's widths are the encoder's, reversed."""
    spec = NetworkSpec(name, widths, act, norm)
    encoder = ENCODERS[name](spec, shape, heads_of(latent_size), context_size)
    spec = spec._replace(widths=widths[::-1])
    return encoder, DECODERS[name](spec, shape, p, latent_size, context_size)


def test_the_table_is_complete():
    assert {name for name, *_ in MEMBERS} == set(ENCODERS) == set(DECODERS)


@every_member
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("widths", WIDTHS)
def test_shapes_of_any_image(name, norm, shape, widths):
    d = int(np.prod(shape))
    encoder, decoder = build(name, norm, widths, shape, context_size=2)

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
def test_heads_have_their_own_sizes(name, norm):
    spec = NetworkSpec(name, (6,), "relu", norm)
    encoder = ENCODERS[name](spec, (3, 5, 2), (("mean", 3), ("context", 4)))
    outputs = jax.eval_shape(encoder.apply, drawn(encoder), jnp.ones((2, 30)))
    assert {head: output.shape for head, output in outputs.items()} == {
        "mean": (2, 3),
        "context": (2, 4),
    }
    with pytest.raises(ValueError, match="cannot be masked by 3 latent units"):
        jax.eval_shape(encoder.init, jax.random.key(0), jnp.ones(3))


@every_member
@pytest.mark.parametrize("widths", [(), (6, 5)])
def test_the_context_is_seen(name, norm, widths):
    encoder, decoder = build(name, norm, widths, context_size=3)
    labels = np.eye(3, dtype=np.float32)
    x, z = np.tile(normal(0, 1, 30), (3, 1)), np.tile(normal(1, 1, 3), (3, 1))
    mean = jax.jit(encoder.apply)(drawn(encoder), x, labels)["mean"]
    x_params = jax.jit(decoder.apply)(drawn(decoder), z, labels)
    for out in (np.asarray(mean), np.asarray(x_params)):
        assert (abs(out[0] - out[1]) > 1e-4).mean() > 0.9
        assert (abs(out[0] - out[2]) > 1e-4).mean() > 0.9


def test_a_context_of_another_size_is_refused():
    encoder, decoder = build("mlp", context_size=3)
    params = drawn(encoder), drawn(decoder)
    with pytest.raises(ValueError, match=r"\(4, 0\), where this network takes \(4, 3\)"):
        encoder.apply(params[0], jnp.ones((4, 30)))
    with pytest.raises(ValueError, match=r"\(4, 2\), where this network takes \(4, 3\)"):
        decoder.apply(params[1], jnp.ones((4, 3)), jnp.ones((4, 2)))
    encoder, _ = build("mlp")
    with pytest.raises(ValueError, match="takes"):
        encoder.apply(drawn(encoder), jnp.ones((4, 30)), jnp.ones((4, 1)))


@pytest.mark.parametrize(("name", "norm", "first_layers"), MEMBERS)
def test_a_latent_unit_s_first_weights_depend_on_key_and_unit_alone(name, norm, first_layers):
    small = build(name, norm, latent_size=2, context_size=2)
    large = build(name, norm, latent_size=4, context_size=2)

    small, large = ([net.init(jax.random.key(1)) for net in pair] for pair in (small, large))
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


@pytest.mark.parametrize("name", ENCODERS)
def test_first_and_last_weights_have_the_stated_variance(name):
    first = next(layers[0] for member, _, layers in MEMBERS if member == name)
    encoder, decoder = build(name, widths=(500,), latent_size=9, context_size=3)
    kernels = jax.jit(
        lambda key: (encoder.init(key)["mean"]["kernel"], decoder.init(key)[first]["kernel"])
    )(jax.random.key(1))
    assert abs(np.var(kernels[0]) * len(kernels[0]) - 1) < 0.1
    assert abs(np.var(kernels[1]) * (3 + 9) - 1) < 0.1


@every_member
@pytest.mark.parametrize(("widths", "context_size"), [((), 0), ((6, 5), 2)])
def test_a_masked_network_is_the_network_of_the_units_that_are_left(
    name, norm, widths, context_size
):
    large = build(name, norm, widths, latent_size=4, context_size=context_size)
    small = build(name, norm, widths, latent_size=2, context_size=context_size)
    mask_l = np.array([1, 1, 0, 0], np.float32)
    context = normal(0, 5, context_size)
    x, z = normal(1, 5, 30), normal(2, 5, 4)  # the padded z may be anything

    def outputs(pair, params, z):
        encoder, decoder = pair
        return jax.jit(
            lambda p: (encoder.apply(p[0], x, context), decoder.apply(p[1], z, context))
        )(params)

    key = jax.random.key(0)
    masked = large[0].init(key, mask_l), large[1].init(jax.random.clone(key), None, mask_l)
    alone = small[0].init(jax.random.clone(key)), small[1].init(jax.random.clone(key))
    masked, alone = (masked, outputs(large, masked, z)), (alone, outputs(small, alone, z[:, :2]))
    for leaf, own in zip(*map(jax.tree.leaves, (masked, alone)), strict=True):
        within = tuple(map(slice, own.shape))
        np.testing.assert_allclose(leaf[within], own, rtol=1e-4, atol=1e-5)
        outside = np.array(leaf)
        outside[within] = 0
        assert (outside == 0).all()


@every_member
@pytest.mark.parametrize("widths", [(), (6, 5)])
def test_a_bias_for_each_channel_and_parameter_comes_out_there(name, norm, widths):
    """Index d is (height, width, channel), the channel fastest; the parameters are last."""
    _, decoder = build(name, norm, widths, latent_size=4, context_size=2)
    channel_dp, parameter_dp = np.meshgrid(np.arange(30) % 2, np.arange(2), indexing="ij")
    bias_dp = np.float32(10 * channel_dp + parameter_dp)
    params = decoder.init(jax.random.key(0), bias_dp)
    # Every other bias starts at 0, so that nothing else is seen.
    at_zero = jax.jit(decoder.apply)(params, np.zeros((2, 4)), np.zeros((2, 2)))
    np.testing.assert_allclose(at_zero, np.stack([bias_dp, bias_dp]), atol=1e-6)
    assert not decoder.init(jax.random.key(0))["output"]["bias"].any()


@every_member
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 4, 3)])
def test_gradients_are_nowhere_dead_and_finite_at_huge_inputs(name, norm, shape):
    encoder, decoder = build(name, norm, shape=shape, context_size=2)

    def loss(params, x, z, context):
        outputs = encoder.apply(params[0], x, context), decoder.apply(params[1], z, context)
        return sum(jnp.sum(jnp.sin(leaf + 1)) for leaf in jax.tree.leaves(outputs))

    loss_and_gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))
    params = drawn(encoder), drawn(decoder)
    x, z, context = normal(0, 6, int(np.prod(shape))), normal(1, 6, 3), normal(2, 6, 2)
    _, gradients = loss_and_gradients(params, x, z, context)
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.abs(gradient).max() > 1e-4, path

    at_huge = loss_and_gradients(params, 1e4 * np.sign(x), 1e4 * np.sign(z), context)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(at_huge))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_are_finite_with_finite_slopes(activation):
    x = jnp.array([-1e4, -1.0, 0.0, 1.0, 1e4])
    values, slopes = jax.vmap(jax.value_and_grad(ACTIVATIONS[activation]))(x)
    assert np.isfinite(values).all()
    assert np.isfinite(slopes).all()


@every_member
def test_the_activation_is_used_but_where_gates_take_its_place(name, norm):
    x, z = normal(0, 4, 30), normal(1, 4, 3)
    outputs = []
    for activation in ("elu", "tanh"):
        encoder, decoder = build(name, norm, act=activation)
        mean = jax.jit(encoder.apply)(drawn(encoder), x)["mean"]
        outputs.append((mean, jax.jit(decoder.apply)(drawn(decoder), z)))
    for elu, tanh in zip(*outputs, strict=True):
        assert (np.abs(elu - tanh).max() > 1e-2) == (name != "gated_mlp")


@every_member
def test_without_widths_it_is_affine(name, norm):
    encoder, decoder = build(name, norm, widths=())
    params = drawn(encoder), drawn(decoder)
    functions = [
        (lambda x: encoder.apply(params[0], x)["mean"], 30),
        (lambda z: decoder.apply(params[1], z), 3),
    ]
    for function, size in functions:
        a, b = normal(0, 4, size), normal(1, 4, size)
        middle = (function(a) + function(b)) / 2
        np.testing.assert_allclose(function((a + b) / 2), middle, rtol=1e-4, atol=1e-5)


@every_member
def test_lanes_are_networks_of_their_own(name, norm):
    encoder, decoder = build(name, norm, (6,), latent_size=4, context_size=2)
    x, z, context = normal(0, 5, 30), normal(1, 5, 4), normal(2, 5, 2)

    def outputs(params):
        return encoder.apply(params[0], x, context), decoder.apply(params[1], z, context)

    def keys():
        return jax.random.split(jax.random.key(0), 3)

    lanes = tuple(jax.jit(jax.vmap(network.init))(keys()) for network in (encoder, decoder))
    lanes, alone_outputs = (lanes, jax.jit(jax.vmap(outputs))(lanes)), jax.jit(outputs)
    for i, key in enumerate(keys()):
        params = encoder.init(key), decoder.init(jax.random.clone(key))
        alone = params, alone_outputs(params)
        for leaf, own in zip(*map(jax.tree.leaves, (lanes, alone)), strict=True):
            np.testing.assert_allclose(leaf[i], own, rtol=1e-4, atol=1e-5)
