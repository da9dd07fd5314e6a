"""A Gaussian with the moments of the codes, and a mixture of Gaussians.

References: Ghosh et al. 2020, section 4 (a mixture fitted to the codes of an autoencoder).
"""

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vae_jax.errors import UserError
from vae_jax.evaluation.samplers.interface import Sampler
from vae_jax.words import to_install

LEAST = 1e-6  # of a component's variances, relative to those of the codes


class Components(NamedTuple):
    """N(mean_c, factor_c factor_c^T) with their weights."""

    log_weights_c: Float[Array, " c"]
    mean_cl: Float[Array, "c l"]
    factor_cll: Float[Array, "c l l"]  # lower triangular


@dataclass(frozen=True)
class Gaussian(Sampler):
    """a Gaussian with the mean and the covariance of the codes"""

    has_density: ClassVar = True

    @property
    def number(self) -> int:
        """The number of components."""
        return 1

    def init(self, key: Key[Array, ""], size: int) -> Components:
        """Components alike: N(0, 1)."""
        c = self.number
        factor = jnp.broadcast_to(jnp.eye(size), (c, size, size))
        return Components(jnp.full(c, -np.log(c)), jnp.zeros((c, size)), factor)

    def fit(self, keys: Any, codes: Float[np.ndarray, "lanes n l"]) -> Components:
        """Computed in float64, lane by lane; the keys are not used."""
        estimates = [self.estimated(codes_nl) for codes_nl in codes]
        weights, means, covariances = (np.stack(part) for part in zip(*estimates, strict=True))
        arrays = (np.log(weights), means, np.linalg.cholesky(covariances))
        return Components(*arrays)  # type: ignore[arg-type]

    def estimated(
        self, codes_nl: Float[np.ndarray, "n l"]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights [c], means [c, l] and covariances [c, l, l]."""
        size = codes_nl.shape[1]
        covariance_ll = np.cov(codes_nl.T, bias=True).reshape(size, size) + LEAST * np.eye(size)
        return np.ones(1), codes_nl.mean(axis=0)[None], covariance_ll[None]

    def sample(self, params: Components, key: Key[Array, ""], n: int) -> Float[Array, "n l"]:
        component_key, noise_key = jax.random.split(key)
        component_n = jax.random.categorical(component_key, params.log_weights_c, shape=(n,))
        noise_nl = jax.random.normal(noise_key, (n, params.mean_cl.shape[1]))
        # By each component, of which one is taken: a matrix for each sample would be larger.
        moved_cnl = jnp.einsum("cij,nj->cni", params.factor_cll, noise_nl)
        moved_cnl += params.mean_cl[:, None]
        return jnp.take_along_axis(moved_cnl, component_n[None, :, None], axis=0)[0]

    def log_prob(self, params: Components, z_nl: Float[Array, "n l"]) -> Float[Array, " n"]:
        def of_component(mean_l: Array, factor_ll: Array) -> Array:
            shift_ln = (z_nl - mean_l[None]).T
            noise_ln = jax.scipy.linalg.solve_triangular(factor_ll, shift_ln, lower=True)
            log_noise_n = -0.5 * jnp.sum(jnp.square(noise_ln) + jnp.log(2 * jnp.pi), axis=0)
            return log_noise_n - jnp.sum(jnp.log(jnp.diagonal(factor_ll)))

        log_cn = jax.vmap(of_component)(params.mean_cl, params.factor_cll)
        return jax.nn.logsumexp(params.log_weights_c[:, None] + log_cn, axis=0)

    def problems(self, n: int) -> str:
        if n > self.number:
            return ""
        return f"{self.number} components can't be fitted to {n} codes; take fewer"


@dataclass(frozen=True)
class Mixture(Gaussian):
    """a mixture of Gaussians, by maximum likelihood"""

    components: int

    @property
    def number(self) -> int:
        return self.components

    def estimated(
        self, codes_nl: Float[np.ndarray, "n l"]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        try:
            from sklearn.exceptions import ConvergenceWarning
            from sklearn.mixture import GaussianMixture
        except ImportError as error:
            raise UserError(f"a mixture needs scikit-learn: {to_install('evaluation')}") from error
        model = GaussianMixture(self.components, reg_covar=LEAST, random_state=0)
        with warnings.catch_warnings():  # a mixture that has not settled is one too
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(codes_nl)
        return model.weights_, model.means_, model.covariances_
