"""A fitted sampler as p(z) of a model."""

from dataclasses import dataclass, field
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from vae_jax.errors import UserError
from vae_jax.evaluation.samplers.interface import Fitted, Sampler, log_prob, sample
from vae_jax.models.model import Model
from vae_jax.models.with_prior import with_prior


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FittedPrior:
    """p(z) by a sampler, one for all examples."""

    fitted: Fitted
    sampler: Sampler = field(metadata={"static": True})

    def sample(
        self, key: Key[Array, ""], k: int
    ) -> tuple[Float[Array, "k 1 l"], Float[Array, "k 1"] | None]:
        z_kbl = sample(self.sampler, self.fitted, key, k)[:, None]
        return z_kbl, self.log_prob(z_kbl) if self.sampler.has_density else None

    def log_prob(self, z_kbl: Float[Array, "k b l"]) -> Float[Array, "k b"]:
        if not self.sampler.has_density:
            raise UserError(no_density(self.sampler))
        flat = z_kbl.reshape(-1, z_kbl.shape[-1])
        return log_prob(self.sampler, self.fitted, flat).reshape(z_kbl.shape[:2])

    def mean(self) -> Float[Array, "1 1 l"]:
        """The mean of the codes that it was fitted to."""
        return jnp.asarray(self.fitted.centre_l)[None, None]


def no_density(sampler: Sampler) -> str:
    """What is wrong where a density is asked for."""
    return (
        f"{type(sampler).__name__} has samples of z, but no density: there is no log p(z), and no "
        "log p(x) by it; 'mixture' and 'flow' have them"
    )


def with_sampler(model: Model, sampler: Sampler) -> Model:
    """The model with the sampler as p(z); variables["sampler"]: what was fitted."""
    return with_prior(model, partial(FittedPrior, sampler=sampler))
