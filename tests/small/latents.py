"""Small priors and posteriors of each family."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.probability.distributions import DiagonalGaussian
from vae_jax.probability.posteriors import (
    Diagonal,
    Full,
    InverseAutoregressive,
    MixturePosterior,
    Planar,
)
from vae_jax.probability.priors import (
    Autoregressive,
    LearnedGaussian,
    MixturePrior,
    RealNVP,
    Shape,
    StandardNormalPrior,
    VampPrior,
)

PRIOR = {
    "autoregressive": Autoregressive(layers=2, width=8),
    "learned_gaussian": LearnedGaussian(),
    "mixture": MixturePrior(3),
    "realnvp": RealNVP(layers=2, width=8),
    "standard_normal": StandardNormalPrior(),
    "vampprior": VampPrior(2),
}
POSTERIOR = {
    "diagonal": Diagonal(),
    "full": Full(),
    "inverse_autoregressive": InverseAutoregressive(layers=2, width=8),
    "mixture": MixturePosterior(3),
    "planar": Planar(layers=2),
}
WITH_DENSITY = [name for name, own in POSTERIOR.items() if own.has_density]
# Of q and p, those whose KL has a closed form.
CLOSED_FORMS = [
    ("diagonal", "learned_gaussian"),
    ("diagonal", "standard_normal"),
    ("full", "standard_normal"),
]
CONFIDENCE = 4.4  # standard errors; a correct estimate exceeds it once in 100,000 keys
EXAMPLES = np.float32([[0.2, 0.8, 0.5], [0.9, 0.1, 0.4]])
B, L = 3, 2


def encode(x_nd) -> DiagonalGaussian:
    """A diagonal posterior of two units, for the VampPrior."""
    return DiagonalGaussian((2 * x_nd[:, :2] - 1)[None], jnp.log(x_nd[:, 1:])[None])


def params_like(init, scale, seed=0):
    """Random params of a prior or posterior, not those it starts with."""
    rng = np.random.default_rng(seed)
    like = jax.eval_shape(lambda: init(jax.random.key(0)))
    return jax.tree.map(lambda leaf: np.float32(scale * rng.normal(size=leaf.shape)), like)


def prior_of(name, num_classes=0, label_b=None, batch_size=1):
    """A p(z) of two units."""
    prior = PRIOR[name]
    params = params_like(lambda key: prior.init(key, L, num_classes, EXAMPLES), 0.3, seed=5)
    params = {"pseudo_inputs": jnp.asarray(EXAMPLES)} if name == "vampprior" else params
    params = jax.tree.map(jnp.asarray, params)
    return prior.distribution(params, encode, label_b, Shape(batch_size, L))


def posterior_of(name, latent_size=L, seed=0):
    """A q(z | x) of three examples, of random outputs and params."""
    posterior = POSTERIOR[name]
    rng = np.random.default_rng(seed)
    outputs = {
        head: jnp.float32(0.7 * rng.normal(size=(B, columns)))
        for head, columns in posterior.heads(latent_size)
    }
    params = params_like(lambda key: posterior.init(key, latent_size), 0.5)
    return posterior.distribution(params, outputs)


@functools.cache
def samples_of(name):
    """z [k, b, l] of `posterior_of`, the log density it reports, its own log density, its mean."""

    @jax.jit
    def sample(key):
        q = posterior_of(name)
        z_kbl, log_q_kb = q.sample(key, 40_000)
        own_kb = q.log_prob(z_kbl) if POSTERIOR[name].has_density else None
        return z_kbl, log_q_kb, own_kb, q.mean()

    return jax.tree.map(np.asarray, sample(jax.random.key(1)))
