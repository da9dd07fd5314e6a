"""Free bits, beta and warm-up of each layer."""

import jax
import numpy as np
import pytest

from tests.small.models import mlp_spec
from tests.small.runs import train, values_of, write_tiny_npz
from vae_jax.config.check import check
from vae_jax.config.schema import nest
from vae_jax.errors import UserError
from vae_jax.models import ModelSpec, make_model
from vae_jax.models.hierarchy import Ladder
from vae_jax.objectives import Objective, annealed_step, is_the_bound, loss, validation_score
from vae_jax.objectives.elbo import Elbo

MODEL = make_model(
    ModelSpec(
        kind=Ladder((3, 2), (6, 5)),
        latent_size=4,
        image_shape=(3, 3, 1),
        num_classes=0,
        encoder=mlp_spec(7),
        decoder=mlp_spec(7),
    )
)
X = np.float32(np.random.default_rng(0).integers(0, 2, (5, 9)))


@pytest.fixture(scope="module")
def variables():
    return jax.jit(MODEL.init)(jax.random.key(0))


def loss_of(variables, bound, step=0, beta=1.0):
    objective = Objective(bound, beta=beta)
    return jax.jit(lambda own: loss(objective, MODEL, own, jax.random.key(1), X, None, step))(
        variables
    )


def kls_of(found):
    return np.array([np.mean(found.terms.parts[f"kl_layer_{i}"]) for i in range(3)])


@pytest.mark.parametrize("kl", ["analytic", pytest.param("sampled", marks=pytest.mark.slow)])
def test_the_cost_is_its_formula(variables, kl):
    free, betas, warm = (50.0, 0.0, 0.0), (0.5, 2.0, 3.0), (0.0, 10.0, 4.0)
    bound = Elbo(kl=kl, layer_free_bits=free, layer_beta=betas, layer_warmup=warm)
    for step in (0, 3, 100):
        found = loss_of(variables, bound, step, beta=0.7)
        ramps = [1.0, min(1.0, step / 10), min(1.0, step / 4)]
        cost = sum(
            b * r * max(f, k) for b, r, f, k in zip(betas, ramps, free, kls_of(found), strict=True)
        )
        expected = -np.mean(found.terms.parts["reconstruction"]) + 0.7 * cost
        np.testing.assert_allclose(found.value, expected, rtol=1e-5)


@pytest.mark.slow
def test_without_numbers_by_layer_it_is_the_elbo(variables):
    plain, layered = loss_of(variables, Elbo()), loss_of(variables, Elbo(layer_beta=(1.0,) * 3))
    np.testing.assert_allclose(layered.value, plain.value, rtol=1e-6)


def test_infinite_numbers_are_those_of_a_lane_that_has_none(variables):
    none = (np.inf,) * 3
    padded = Elbo(layer_free_bits=none, layer_beta=none, layer_warmup=none)
    found = loss_of(variables, padded)
    np.testing.assert_allclose(found.value, loss_of(variables, Elbo()).value, rtol=1e-6)


@pytest.mark.slow
def test_below_its_free_bits_a_layer_has_no_gradient(variables):
    """Of the top layer, whose q is the upper encoder's output alone."""

    def value(params, free):
        own = variables | {"params": params}
        # beta 1e6: what is left of the reconstruction's gradient is nothing beside the KL's.
        bound = Elbo(layer_free_bits=free, layer_beta=(1e6, 0.0, 0.0))
        found = loss(Objective(bound), MODEL, own, jax.random.key(1), X, None, 0)
        return found.value + jax.numpy.mean(found.terms.parts["reconstruction"])

    gradient = jax.jit(jax.grad(value))
    below = gradient(variables["params"], np.float32([1e3, 0, 0]))
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(below))
    above = gradient(variables["params"], np.float32([0, 0, 0]))
    assert np.abs(above["posterior"]["1"]["mean"]["kernel"]).max() > 1


def test_the_validation_objective_has_them_at_their_end():
    bound = Elbo(
        layer_free_bits=(1.0, 0.0, 0.0), layer_beta=(1.0, 2.0, 1.0), layer_warmup=(9.0,) * 3
    )
    objective = Objective(bound)
    means = {"bound": -10.0, "elbo": -10.0, "reconstruction": -6.5, "kl": 3.5, "loss": 99.0}
    means |= {"kl_layer_0": 0.5, "kl_layer_1": 1.0, "kl_layer_2": 2.0}
    assert validation_score(objective, means, None, 100) == pytest.approx(-6.5 - (1 + 2 + 2))
    assert not is_the_bound(objective, 100)
    assert annealed_step(objective, 100) == 9


REFUSED = [
    (
        {"objective__layer_beta": (1.0, 2.0)},
        r"layer_beta = \(1.0, 2.0\) has 2, and .* has 3 layers",
    ),
    (
        {"objective__layer_free_bits": (1.0,) * 3, "objective__free_bits": 0.5},
        "is the cost of each layer's KL, and objective.free_bits = 0.5 that of the KL of all",
    ),
    ({"objective__layer_beta": (1.0, -2.0, 1.0)}, r"layer_beta\[1\] = -2.0 should be a number"),
    ({"model__upper__latent_sizes": (3, 2, 1)}, r"should have a width for each of the 3 layers"),
    ({"model__upper__latent_sizes": (), "model__upper__widths": ()}, "latent_sizes is empty"),
    ({"model__upper__latent_sizes": (0, 2)}, r"latent_sizes\[0\] = 0 should be a whole number"),
    (
        {
            "model__name": "vae",
            "model__upper__latent_sizes": (10,),
            "model__upper__widths": (100,),
            "objective__layer_beta": (1.0,),
        },
        r"has 1 layer; it should be \(\)",
    ),
    ({"model__name": "top_down"}, "has no effect"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_what_does_not_fit_is_refused(tmp_path, changes, message):
    base = {
        "model__name": "ladder",
        "model__upper__latent_sizes": (3, 2),
        "model__upper__widths": (6, 5),
    }
    values = values_of(write_tiny_npz(tmp_path / "tiny.npz"), **(base | changes))
    with pytest.raises(UserError, match=message):
        check(nest(values))


def test_more_maps_than_the_image_has_are_refused(tmp_path):
    changes = {
        "model__name": "top_down", "model__blocks__numbers": (1,) * 5, "model__latent_size": 20,
        "model__encoder__widths": (400,), "model__decoder__widths": (400,),
    }  # fmt: skip
    values = values_of(write_tiny_npz(tmp_path / "tiny.npz"), **changes)
    with pytest.raises(
        UserError, match=r"images of 6 x 6 can be halved 3 times.*at most 3 numbers"
    ):
        train(nest(values), tmp_path / "run")
