"""Distributions of z that are fitted to the codes of a trained model, to generate from.

References: Ghosh et al. 2020, section 4 (a mixture fitted to the codes of an autoencoder).
"""

import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vae_jax.errors import UserError
from vae_jax.words import to_install

PRIOR = "prior"
SAMPLERS = {
    "gaussian": "a Gaussian with the mean and the covariance of the codes",
    "mixture": "a mixture of Gaussians, by maximum likelihood",
}
LEAST = 1e-6  # of a component's variances, relative to those of the codes


class Fitted(NamedTuple):
    """A mixture of Gaussians N(mean_c, factor_c factor_c^T), or of one."""

    log_weights_c: Float[Array, " c"]
    mean_cl: Float[Array, "c l"]
    factor_cll: Float[Array, "c l l"]  # lower triangular


def fit(name: str, codes_nl: Float[np.ndarray, "n l"], components: int) -> Fitted:
    """The sampler of this name, fitted to codes.

    Raises:
      UserError: the codes are not finite, or fewer than components; scikit-learn is missing.
    """
    codes_nl = np.asarray(codes_nl, np.float64)
    components = components if name == "mixture" else 1
    if not np.isfinite(codes_nl).all():
        raise UserError("a sampler can't be fitted to codes that are not finite")
    if len(codes_nl) <= components:
        raise UserError(
            f"{components} components can't be fitted to {len(codes_nl)} codes; take fewer"
        )
    centre_l, scale_l = codes_nl.mean(axis=0), codes_nl.std(axis=0)
    scale_l = np.where(scale_l > 0, scale_l, 1.0)
    weights_c, mean_cl, covariance_cll = of_standardized(
        (codes_nl - centre_l) / scale_l, components
    )
    factor_cll = np.linalg.cholesky(covariance_cll) * scale_l[:, None]
    arrays = (np.log(weights_c), centre_l + scale_l * mean_cl, factor_cll)
    return Fitted(*(np.asarray(leaf, np.float32) for leaf in arrays))  # type: ignore[arg-type]


def of_standardized(
    codes_nl: Float[np.ndarray, "n l"], components: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and covariances of a mixture; of one component, by its moments."""
    size = codes_nl.shape[1]
    if components == 1:
        covariance_ll = np.cov(codes_nl.T, bias=True).reshape(size, size) + LEAST * np.eye(size)
        return np.ones(1), codes_nl.mean(axis=0)[None], covariance_ll[None]
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture
    except ImportError as error:
        raise UserError(f"a mixture needs scikit-learn: {to_install('evaluation')}") from error
    model = GaussianMixture(components, reg_covar=LEAST, random_state=0)
    with warnings.catch_warnings():  # a mixture that has not settled is one too
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(codes_nl)
    return model.weights_, model.means_, model.covariances_


def padded(fitted: Fitted, size: int) -> Fitted:
    """The sampler of a lane with more latent units, which no one reads: N(0, 1)."""
    more = size - fitted.mean_cl.shape[1]
    factor_cll = np.pad(fitted.factor_cll, ((0, 0), (0, more), (0, more)))
    own = np.arange(size - more, size)
    factor_cll[:, own, own] = 1.0
    mean_cl = np.pad(fitted.mean_cl, ((0, 0), (0, more)))
    return fitted._replace(mean_cl=mean_cl, factor_cll=factor_cll)  # type: ignore[arg-type]


def sample(fitted: Fitted, key: Key[Array, ""], n: int) -> Float[Array, "n l"]:
    """n samples z."""
    component_key, noise_key = jax.random.split(key)
    component_n = jax.random.categorical(component_key, fitted.log_weights_c, shape=(n,))
    noise_nl = jax.random.normal(noise_key, (n, fitted.mean_cl.shape[1]))
    # By each component, of which one is taken: a matrix for each sample would be larger.
    moved_cnl = jnp.einsum("cij,nj->cni", fitted.factor_cll, noise_nl)
    moved_cnl += fitted.mean_cl[:, None]
    return jnp.take_along_axis(moved_cnl, component_n[None, :, None], axis=0)[0]


def log_prob(fitted: Fitted, z_nl: Float[Array, "n l"]) -> Float[Array, " n"]:
    """log density of z, nats."""

    def of_component(mean_l: Array, factor_ll: Array) -> Array:
        shift_ln = (z_nl - mean_l[None]).T
        noise_ln = jax.scipy.linalg.solve_triangular(factor_ll, shift_ln, lower=True)
        log_noise_n = -0.5 * jnp.sum(jnp.square(noise_ln) + jnp.log(2 * jnp.pi), axis=0)
        return log_noise_n - jnp.sum(jnp.log(jnp.diagonal(factor_ll)))

    log_cn = jax.vmap(of_component)(fitted.mean_cl, fitted.factor_cll)
    return jax.nn.logsumexp(fitted.log_weights_c[:, None] + log_cn, axis=0)
