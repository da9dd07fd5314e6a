"""Models whose log p(x) is known: in closed form, or on a grid of z."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from tests.small.models import mlp_spec
from vae_jax.models import ModelSpec, make_model
from vae_jax.models.model import given, layer_sizes, log_joint, parted
from vae_jax.models.vae import VAE
from vae_jax.objectives import Objective, loss
from vae_jax.objectives.elbo import Elbo
from vae_jax.probability.likelihoods import GaussianLikelihood

model_of = cache(make_model)  # one model of one spec, so that what is compiled is found again


@cache
def first_variables(model, seed: int):
    return jax.device_get(jax.jit(model.init)(jax.random.key(seed)))


def variables_of(model, seed: int = 0):
    """Its first variables, in dicts of one's own."""
    return jax.tree.map(lambda leaf: leaf, first_variables(model, seed))


def huge_variables(model):
    """All 10,000."""
    like = jax.eval_shape(model.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: np.full(leaf.shape, 1e4, np.float32), like)


def objective(bound=None, num_samples: int = 1, **choices) -> Objective:
    """`bound` (None: the ELBO) with so many samples."""
    return Objective(Elbo() if bound is None else bound, num_samples, **choices)


@partial(jax.jit, static_argnums=1)
def value_and_terms(objective, model, variables, key, x_bd, label_b=None, step=0):
    """The loss, and its terms."""
    found = loss(objective, model, variables, key, x_bd, label_b, step)
    return found.value, found.terms


@partial(jax.jit, static_argnums=1)
def terms_and_gradient(objective, model, variables, key, x_bd, label_b=None):
    """(the loss, its terms), and d loss / d params."""

    def value(params):
        found = loss(objective, model, variables | {"params": params}, key, x_bd, label_b, 0)
        return found.value, (found.value, found.terms)

    gradient, found = jax.grad(value, has_aux=True)(variables["params"])
    return found, gradient


def gradient(*args):
    """d loss / d params."""
    return terms_and_gradient(*args)[1]


@partial(jax.jit, static_argnums=(1, 3))
def many(objective, model, variables, n: int, key, x_bd):
    """By n samples: the bound [n, b], and d loss / d params of the encoder, leaves [n, ...]."""

    def one(key):
        (_, terms), gradient = terms_and_gradient(objective, model, variables, key, x_bd)
        return terms.bound, gradient["encoder"]

    return jax.vmap(one)(jax.random.split(key, n))


def flat(tree) -> np.ndarray:
    """All leaves as one vector."""
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def flat_of_many(tree) -> np.ndarray:
    """All leaves [n, ...] as one vector for each of n."""
    return np.concatenate([np.reshape(leaf, (len(leaf), -1)) for leaf in jax.tree.leaves(tree)], 1)


# A linear-Gaussian VAE: p(z) = N(0, I), p(x | z) = N(W z + b, s^2 I) with orthogonal columns of W,
# so that the exact posterior is diagonal: precision 1 + |w_l|^2 / s^2, mean = variance * w_l .
# (x - b) / s^2.
D, L, NOISE_SCALE = 6, 2, 0.5
W_DL = np.linalg.qr(np.random.default_rng(0).normal(size=(D, L)))[0] * np.array([[1.5, 0.4]])
B_D = np.linspace(-1, 1, D)


def linear(posterior_shift: float = 0.0):
    """(model, variables): W, b and the exact posterior, its means moved by the shift."""
    model = model_of(
        ModelSpec(
            latent_size=L, encoder=mlp_spec(), decoder=mlp_spec(), image_shape=(D, 1, 1),
            likelihood=GaussianLikelihood(scale=NOISE_SCALE),
        )
    )  # fmt: skip
    variables = variables_of(model)
    params = variables["params"]
    variance_l = 1 / (1 + (W_DL**2).sum(axis=0) / NOISE_SCALE**2)
    kernel = (W_DL * variance_l / NOISE_SCALE**2).astype(np.float32)
    params["encoder"]["mean"] = {
        "kernel": kernel,
        "bias": (-B_D @ kernel + posterior_shift).astype(np.float32),
    }
    params["encoder"]["log_scale"] = {
        "kernel": np.zeros((D, L), np.float32),
        "bias": (0.5 * np.log(variance_l)).astype(np.float32),
    }
    params["decoder"]["output"] = {
        "kernel": W_DL.T.astype(np.float32),
        "bias": B_D.astype(np.float32),
    }
    return model, variables


def linear_data(n: int = 5) -> np.ndarray:
    """Examples that the linear-Gaussian model makes [n, d]."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=(n, L))
    return (z @ W_DL.T + B_D + NOISE_SCALE * rng.normal(size=(n, D))).astype(np.float32)


def linear_log_prob(x_bd) -> np.ndarray:
    """Its log p(x) [n]."""
    covariance = W_DL @ W_DL.T + NOISE_SCALE**2 * np.eye(D)
    return stats.multivariate_normal(B_D, covariance).logpdf(x_bd)


def nonlinear(latent_size: int = 1, seed: int = 0, kind=None):
    """A Bernoulli VAE of four pixels with a decoder that bends: (model, variables, x [3, 4]).

    kind: a VAE's section; None: the plain one.
    """
    model = model_of(
        ModelSpec(
            VAE() if kind is None else kind, latent_size, mlp_spec(6), mlp_spec(6),
            image_shape=(2, 2, 1),
        )
    )  # fmt: skip
    variables = variables_of(model, seed)
    params = variables["params"]
    params["decoder"] = jax.tree.map(lambda leaf: np.float32(1.5) * leaf, params["decoder"])
    bias = params["encoder"]["mean"]["bias"]
    params["encoder"]["mean"]["bias"] = bias + np.float32(1.2)  # a posterior that is some way off
    return model, variables, np.array([[0, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]], np.float32)


def grid(latent_size: int) -> tuple[np.ndarray, float]:
    """Points [n, l] that cover the prior, and the volume that each stands for."""
    axis = np.linspace(-12, 12, {1: 2_001, 2: 241}[latent_size], dtype=np.float32)
    points = np.stack(np.meshgrid(*[axis] * latent_size, indexing="ij"), axis=-1)
    return points.reshape(-1, latent_size), float(axis[1] - axis[0]) ** latent_size


@partial(jax.jit, static_argnums=0)
def log_joint_of(model, variables, x_bd, z_kbl, label_b=None):
    """log p(x, z) [k, b] of given z, all layers' units side by side."""
    z = parted(z_kbl, layer_sizes(model, variables, label_b))
    return log_joint(model.trace(variables, given(z), None, label_b), x_bd)


def grid_log_prob(model, variables, x_bd, latent_size: int, label_b=None) -> np.ndarray:
    """log p(x) [b], or log p(x | y), as the sum of p(x, z) over a grid of z."""
    points, volume = grid(latent_size)
    z = jnp.broadcast_to(points[:, None], (len(points), len(x_bd), latent_size))
    log_p = np.asarray(log_joint_of(model, variables, x_bd, z, label_b), np.float64)
    top = log_p.max(axis=0)
    return top + np.log(np.exp(log_p - top).sum(axis=0) * volume)
