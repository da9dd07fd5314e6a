"""Gradients of discrete latents against the sum over all z."""

import itertools
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.small.exact import flat, objective, variables_of
from tests.small.models import mlp_spec
from tests.small.runs import run
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.models import ModelSpec, make_model
from vae_jax.models.model import given, latents, log_joint, log_posterior
from vae_jax.models.vae import VAE
from vae_jax.objectives import loss
from vae_jax.objectives.discrete import GRADIENTS, temperature_at
from vae_jax.objectives.elbo import Elbo
from vae_jax.objectives.importance import CIWAE, IWAE, MIWAE, PIWAE, Renyi
from vae_jax.probability.categorical import Categorical, vectors
from vae_jax.probability.discrete import CategoricalPosterior, LearnedCategorical, Uniform
from vae_jax.sections.declare import replace

N, B, D = 2, 2, 4  # variables, examples, pixels
X_BD = np.float32(np.random.default_rng(0).integers(0, 2, (B, D)))


@cache
def model_of(categories, prior=None):
    """A model with N variables, and random params."""
    spec = ModelSpec(
        VAE(
            False,
            LearnedCategorical() if prior is None else prior,
            CategoricalPosterior(categories),
        ),
        N,
        mlp_spec(3),
        mlp_spec(3),
        image_shape=(2, 2, 1),
        num_classes=0,
    )
    model = make_model(spec)
    rng = np.random.default_rng(3)
    variables = jax.tree.map(
        lambda leaf: jnp.asarray(leaf + 0.7 * rng.normal(size=leaf.shape), jnp.float32),
        variables_of(model),
    )
    return model, variables


def every(categories):
    """All z, [c^n, z]."""
    index = jnp.asarray(list(itertools.product(range(categories), repeat=N)))
    return vectors(None, index, categories)


def all_samples(categories, k):
    """All k-tuples of z, [c^(n k), k, 1, z]."""
    z = np.asarray(every(categories))
    return jnp.asarray([[z[i] for i in own] for own in itertools.product(range(len(z)), repeat=k)])[
        :, :, None
    ]


def log_densities_at(model, params, variables, z_kbl, x_bd):
    """log q(z | x) and log p(x, z) - log q(z | x), [k, b]."""
    trace = model.trace(variables | {"params": params}, given([z_kbl]), x_bd)
    log_q = log_posterior(trace)
    return log_q, log_joint(trace, x_bd) - log_q


def exact_gradient(value, categories, k, beta=1.0):
    """d/d params of the mean over examples of E[value(log weights of k samples)], a sum."""
    model, variables = model_of(categories)
    z_tkl = all_samples(categories, k)

    def total(params):
        def of(z_k1l):
            z_kbl = jnp.broadcast_to(z_k1l, (k, B, z_k1l.shape[-1]))
            trace = model.trace(variables | {"params": params}, given([z_kbl]), X_BD)
            log_q = log_posterior(trace)
            log_x = trace.x.log_prob(X_BD[None])
            log_w = log_x + beta * (log_joint(trace, X_BD) - log_x - log_q)
            return jnp.mean(jnp.exp(log_q.sum(axis=0)) * value(log_w))

        return jnp.sum(jax.vmap(of)(z_tkl))

    return flat(jax.jit(jax.grad(total))(variables["params"]))


def gradients_of_all(own, categories, k, monkeypatch):
    """-d loss / d params of every k-tuple of z, of one example at a time; their probabilities."""
    model, variables = model_of(categories)
    found, chances = [], []
    for x_d in X_BD:

        def of(z_k1l, x_bd=x_d[None]):
            def sample(self, key, k):
                return z_k1l, self.log_prob(z_k1l)

            def value(params):
                with monkeypatch.context() as patch:
                    patch.setattr(Categorical, "sample", sample)
                    changed = variables | {"params": params}
                    return -loss(own, model, changed, jax.random.key(0), x_bd, None, 0).value

            log_q, _ = log_densities_at(model, variables["params"], variables, z_k1l, x_bd)
            return jax.grad(value)(variables["params"]), jnp.exp(log_q.sum())

        gradients, chance_t = jax.jit(jax.vmap(of))(all_samples(categories, k))
        leaves = [np.reshape(leaf, (len(chance_t), -1)) for leaf in jax.tree.leaves(gradients)]
        found.append(np.concatenate(leaves, axis=1))
        chances.append(np.asarray(chance_t))
    return found, chances


@pytest.mark.parametrize(
    ("bound", "k"),
    [
        (Elbo("sampled"), 2),
        (IWAE(), 3),
        *(
            pytest.param(bound, 2, marks=pytest.mark.slow)
            for bound in (
                Elbo("analytic"),
                IWAE(),
                Renyi(alpha=0.4),
                CIWAE(elbo_weight=0.3),
                MIWAE(num_groups=1),
            )
        ),
    ],
)
def test_leave_one_out_is_unbiased_over_all_samples(bound, k, monkeypatch):
    """No test of samples: the mean over every k-tuple of z is the gradient of the exact bound."""
    own = objective(replace(bound, gradient="leave_one_out"), k)
    values = {Elbo: lambda log_w: jnp.mean(log_w, axis=0)}
    exact = exact_gradient(values.get(type(bound), getattr(bound, "value", None)), 2, k)
    found, chances = gradients_of_all(own, 2, k, monkeypatch)
    mean = sum(chance @ gradients for chance, gradients in zip(chances, found, strict=True)) / B
    np.testing.assert_allclose(mean, exact, atol=2e-5 * np.abs(exact).max() + 1e-6)
    # And it can tell: without the score, the encoder's gradient is another.
    assert np.abs(exact).max() > 1e-2


def test_the_baseline_lessens_the_variance(monkeypatch):
    own = objective(Elbo("sampled", "leave_one_out"), 2)
    found, chances = gradients_of_all(own, 2, 2, monkeypatch)
    mean = chances[0] @ found[0]
    with_baseline = chances[0] @ np.square(found[0] - mean).sum(axis=1)
    model, variables = model_of(2)

    def plain(z_k1l):
        def value(params):
            log_q, log_w = log_densities_at(model, params, variables, z_k1l, X_BD[:1])
            return jnp.mean(log_w + jax.lax.stop_gradient(log_w) * log_q)

        return jax.grad(value)(variables["params"])

    gradients = jax.jit(jax.vmap(plain))(all_samples(2, 2))
    leaves = [np.reshape(leaf, (len(chances[0]), -1)) for leaf in jax.tree.leaves(gradients)]
    rows = np.concatenate(leaves, axis=1)
    np.testing.assert_allclose(chances[0] @ rows, mean, atol=1e-4)
    assert with_baseline < 0.7 * (chances[0] @ np.square(rows - mean).sum(axis=1))


def test_the_exact_gradient_is_the_sum_over_all_z():
    model, variables = model_of(3)
    exact = exact_gradient(lambda log_w: log_w[0], 3, 1, beta=0.5)

    def value(params, own):
        found = loss(own, model, variables | {"params": params}, jax.random.key(0), X_BD, None, 0)
        return -found.value

    for kl in ("analytic", "sampled"):
        own = objective(Elbo(kl, "exact"), 1, beta=0.5)
        np.testing.assert_allclose(
            flat(jax.jit(jax.grad(value), static_argnums=())(variables["params"], own)),
            exact,
            atol=1e-5,
        )


@pytest.mark.parametrize("kl", ["analytic", "sampled"])
def test_disarm_is_unbiased(kl):
    """Its samples are pairs, so the mean is over keys: within its error of the exact gradient."""
    model, variables = model_of(2)
    own = objective(Elbo(kl, "disarm"), 2)
    exact = exact_gradient(lambda log_w: log_w[0], 2, 1)

    @jax.jit
    @jax.vmap
    def gradients(key):
        def value(params):
            return -loss(own, model, variables | {"params": params}, key, X_BD, None, 0).value

        return jax.grad(value)(variables["params"])

    n = 10_000
    found = gradients(jax.random.split(jax.random.key(1), n))
    rows = np.concatenate([np.reshape(leaf, (n, -1)) for leaf in jax.tree.leaves(found)], axis=1)
    moves = rows.std(axis=0) > 1e-3
    error = rows.std(axis=0)[moves] / np.sqrt(n)
    assert (np.abs(rows.mean(axis=0) - exact)[moves] < 4.8 * error).all()
    np.testing.assert_allclose(rows.mean(axis=0)[~moves], exact[~moves], atol=2e-4)
    assert error.max() < 0.05 * np.abs(exact).max()


@pytest.mark.parametrize("gradient", [*GRADIENTS])
def test_the_value_is_of_exact_samples(gradient):
    """The reported bound is that of the discrete model, whatever its gradient is made of."""
    categories = 2 if gradient == "disarm" else 3
    model, variables = model_of(categories)
    k = 1 if gradient == "exact" else 2
    own = objective(Elbo(gradient=gradient), k)

    @jax.jit
    @jax.vmap
    def terms(key):
        return loss(own, model, variables, key, X_BD, None, 0).terms.parts

    found = terms(jax.random.split(jax.random.key(5), 4_000))
    z = jnp.broadcast_to(every(categories)[:, None], (categories**N, B, N * categories))
    log_q, log_w = log_densities_at(model, variables["params"], variables, z, X_BD)
    elbo = np.sum(np.exp(log_q) * log_w, axis=0)
    error = np.std(found["elbo"], axis=0) / np.sqrt(4_000) + 1e-5
    assert (np.abs(found["elbo"].mean(axis=0) - elbo) < 4.6 * error).all()
    # Exact samples: each reconstruction is a mean of two of the values of log p(x | z).
    if gradient not in ("exact", "disarm"):
        log_x = np.asarray(model.trace(variables, given([z]), X_BD).x.log_prob(X_BD[None]))[:, 0]
        pairs = 0.5 * (log_x[:, None] + log_x[None])
        one = np.asarray(found["reconstruction"])[:50, 0]
        assert np.abs(one[:, None, None] - pairs).min(axis=(1, 2)).max() < 1e-4
    evaluated = own.bound.evaluated()
    assert evaluated.gradient == ("exact" if gradient == "exact" else "reparameterized")


@pytest.mark.parametrize("gradient", ["relaxed", "straight_through"])
def test_relaxed_gradients_reach_the_encoder(gradient):
    model, variables = model_of(3)

    @jax.jit
    @jax.vmap
    def of(key):
        def value(params):
            own = objective(Elbo(gradient=gradient), 1, beta=0.0)
            return -loss(own, model, variables | {"params": params}, key, X_BD, None, 0).value

        return jax.grad(value)(variables["params"])["encoder"]

    rows = jax.tree.leaves(of(jax.random.split(jax.random.key(2), 2_000)))
    mean = np.concatenate([np.ravel(leaf.mean(axis=0)) for leaf in rows])
    own = objective(Elbo(gradient="exact"), 1, beta=0.0)

    def exact(params):
        found = loss(own, model, variables | {"params": params}, jax.random.key(0), X_BD, None, 0)
        return -found.value

    wanted = flat(jax.jit(jax.grad(exact))(variables["params"])["encoder"])
    # Biased, but of the exact gradient's direction.
    assert mean @ wanted > 0.5 * np.linalg.norm(mean) * np.linalg.norm(wanted)


def test_the_temperature_falls_from_its_start_to_its_end():
    bound = Elbo(temperature=0.5, temperature_start=2.0, temperature_steps=10.0)
    found = [float(temperature_at(bound, step)) for step in (0, 5, 10, 1_000)]
    np.testing.assert_allclose(found, [2.0, 1.0, 0.5, 0.5], rtol=1e-5)
    assert float(temperature_at(Elbo(), 0)) == pytest.approx(0.5)


@pytest.mark.slow
def test_padded_variables_change_nothing():
    """A model of one variable, padded to two, is the model of one: in value and gradient."""
    wide, _ = model_of(3, Uniform())
    narrow_spec = ModelSpec(
        VAE(False, Uniform(), CategoricalPosterior(3)),
        1,
        mlp_spec(3),
        mlp_spec(3),
        image_shape=(2, 2, 1),
        num_classes=0,
    )
    narrow = make_model(narrow_spec)
    padded = make_model(replace(narrow_spec, latent_size=2, latent_mask=jnp.array([1.0, 0.0])))
    key = jax.random.key(0)
    for gradient, k in (("leave_one_out", 2), ("straight_through", 1)):
        own = objective(Elbo(gradient=gradient), k)

        def value(params, model, own=own):
            variables = {"params": params, "stats": {}}
            return loss(own, model, variables, jax.random.clone(key), X_BD, None, 0).value

        found = []
        for model in (narrow, padded):
            params = jax.jit(model.init)(jax.random.key(4))["params"]
            step = jax.jit(jax.value_and_grad(value), static_argnums=1)
            found.append((params, *step(params, model)))
        (_, one, of_one), (_, other, of_other) = found
        assert float(one) == pytest.approx(float(other), rel=1e-5)
        for a, b in zip(jax.tree.leaves(of_one), jax.tree.leaves(of_other), strict=True):
            kept = np.asarray(b)[tuple(map(slice, a.shape))]
            np.testing.assert_allclose(kept, a, atol=1e-5)
            assert np.abs(b).sum() == pytest.approx(np.abs(kept).sum(), rel=1e-5)
    assert (
        latents(wide.trace(model_of(3, Uniform())[1], given([every(3)[:, None]])))[0].shape[0] == 9
    )


def test_piwae_takes_one_bound_for_the_model_and_one_for_q(monkeypatch):
    own = objective(PIWAE("leave_one_out", 2), 2)
    found, chances = gradients_of_all(own, 2, 2, monkeypatch)
    mean = sum(chance @ gradients for chance, gradients in zip(chances, found, strict=True)) / B
    _, variables = model_of(2)
    of_model = exact_gradient(IWAE().value, 2, 2)
    of_q = exact_gradient(lambda log_w: jnp.mean(log_w, axis=0), 2, 2)
    parts = {
        name: np.concatenate([np.full(leaf.size, name) for leaf in jax.tree.leaves(part)] or [[]])
        for name, part in sorted(variables["params"].items())
    }
    is_encoder = np.concatenate([parts[name] for name in sorted(parts)]) == "encoder"
    np.testing.assert_allclose(mean[is_encoder], of_q[is_encoder], atol=1e-5)
    np.testing.assert_allclose(mean[~is_encoder], of_model[~is_encoder], atol=1e-5)
    assert np.abs(of_q - of_model)[is_encoder].max() > 1e-4


@pytest.mark.slow
def test_leave_one_out_goes_with_several_layers_by_a_sampled_kl(tiny_npz, tmp_path):
    layers = {"model__name": "two_layers", "model__top__latent_size": 2}
    own = {"objective__gradient": "leave_one_out", "objective__num_samples": 2}
    changes = layers | own | {"training__num_epochs": 1}
    ladder = changes | {"model__name": "ladder", "model__upper__latent_sizes": (2,)}
    del ladder["model__top__latent_size"]
    with pytest.raises(UserError, match=r"'analytic' should be 'sampled'"):
        run(tiny_npz, tmp_path / "wrong", **ladder)
    run(tiny_npz, tmp_path / "right", **changes, objective__kl="sampled")
    found = folder.read_results(tmp_path / "right")["lanes"]
    assert all(np.isfinite(lane["elbo"]) for lane in found)
