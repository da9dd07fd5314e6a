"""Models whose log p(x) is known: in closed form, or on a grid of z."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from tests.conftest import mlp_spec
from vae_jax.models.model import ModelHyper, ModelSpec
from vae_jax.models.vae import vae
from vae_jax.objectives.objective import ObjectiveHyper, ObjectiveSpec


def hyper(**numbers) -> ObjectiveHyper:
    """The bound's own, but for these."""
    return jax.tree.map(jnp.float32, ObjectiveHyper(**numbers))


def spec(name="elbo", num_samples=1, **choices) -> ObjectiveSpec:
    """`name` with so many draws."""
    return ObjectiveSpec(name, num_samples, **choices)


# A linear-Gaussian VAE: p(z) = N(0, I), p(x | z) = N(W z + b, s^2 I) with orthogonal columns of W,
# so that the exact posterior is diagonal: precision 1 + |w_l|^2 / s^2, mean = variance * w_l .
# (x - b) / s^2.
D, L, NOISE_SCALE = 6, 2, 0.5
W_DL = np.linalg.qr(np.random.default_rng(0).normal(size=(D, L)))[0] * np.array([[1.5, 0.4]])
B_D = np.linspace(-1, 1, D)


def linear(posterior_shift: float = 0.0):
    """(model, params): params hold W, b and the exact posterior, its means moved by the shift."""
    model_spec = ModelSpec((D, 1, 1), L, mlp_spec(), mlp_spec(), likelihood="gaussian")
    model = vae(model_spec, ModelHyper(likelihood_scale=NOISE_SCALE))
    params = model.init(jax.random.key(0))
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
    return model, params


def linear_data(n: int = 5) -> np.ndarray:
    """Draws of the linear-Gaussian model [n, d]."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=(n, L))
    return (z @ W_DL.T + B_D + NOISE_SCALE * rng.normal(size=(n, D))).astype(np.float32)


def linear_log_prob(x_bd) -> np.ndarray:
    """Its log p(x) [n]."""
    covariance = W_DL @ W_DL.T + NOISE_SCALE**2 * np.eye(D)
    return stats.multivariate_normal(B_D, covariance).logpdf(x_bd)


def nonlinear(latent_size: int = 1, seed: int = 0, **choices):
    """A Bernoulli VAE of four pixels with a decoder that bends: (model, params, x [3, 4])."""
    base = ModelSpec((2, 2, 1), latent_size, mlp_spec(6), mlp_spec(6), **choices)
    model = vae(base)
    params = model.init(jax.random.key(seed))
    params["decoder"] = jax.tree.map(lambda leaf: 1.5 * leaf, params["decoder"])
    params["encoder"]["mean"]["bias"] += 1.2  # a posterior that is some way off
    return model, params, np.array([[0, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]], np.float32)


def grid(latent_size: int) -> tuple[np.ndarray, float]:
    """Points [n, l] that cover the prior, and the volume that each stands for."""
    axis = np.linspace(-12, 12, {1: 2_001, 2: 241}[latent_size], dtype=np.float32)
    points = np.stack(np.meshgrid(*[axis] * latent_size, indexing="ij"), axis=-1)
    return points.reshape(-1, latent_size), float(axis[1] - axis[0]) ** latent_size


def grid_log_prob(model, params, x_bd, latent_size: int) -> np.ndarray:
    """log p(x) [b] as the sum of p(x, z) over a grid of z."""
    points, volume = grid(latent_size)
    z = jnp.broadcast_to(points[:, None], (len(points), len(x_bd), latent_size))
    log_joint = np.asarray(jax.jit(model.log_joint)(params, x_bd, z), np.float64)
    top = log_joint.max(axis=0)
    return top + np.log(np.exp(log_joint - top).sum(axis=0) * volume)
