"""A sampler that is fitted to the codes of a lane, from Python."""

from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, UInt32
from numpy.typing import ArrayLike

from vae_jax.api.arguments import codes_of
from vae_jax.errors import UserError
from vae_jax.evaluation.metrics.codes import codes_needs
from vae_jax.evaluation.samplers import interface, kept
from vae_jax.evaluation.samplers.interface import Fitted
from vae_jax.evaluation.samplers.prior import no_density
from vae_jax.folders.checkpoint import Best
from vae_jax.folders.folder import EVALUATION
from vae_jax.runs.measure import kept_arrays, read_stored
from vae_jax.runs.run import Run
from vae_jax.sections.checks import seed as seed_of
from vae_jax.sections.checks import whole, written


class Sampler(NamedTuple):
    """A distribution of z, fitted to the codes of a lane; `run.decode` makes images of its z, and
    `run.with_sampler` takes it as p(z)."""

    kind: interface.Sampler
    fitted: Fitted

    def sample(self, n: int = 16, seed: int = 0) -> np.ndarray:
        """n samples z [n, l]."""
        n, seed = whole(1)("n", n), seed_of("seed", seed)
        return np.asarray(samples_of(self.kind, self.fitted, np.uint32(seed), n))

    def log_prob(self, codes: ArrayLike) -> np.ndarray:
        """The log density of codes [n, l], nats [n].

        Raises:
          UserError: codes of another size; it has no density, as that of two stages.
        """
        z_nl, _ = codes_of(codes, self.size)
        if not self.kind.has_density:
            raise UserError(no_density(self.kind))
        return np.asarray(densities_of(self.kind, self.fitted, z_nl))

    @property
    def size(self) -> int:
        """The number of latent units."""
        return len(self.fitted.centre_l)


@partial(jax.jit, static_argnums=(0, 3))
def samples_of(
    kind: interface.Sampler, fitted: Fitted, seed: UInt32[Array, ""], n: int
) -> Float[Array, "n l"]:
    """n samples z; the key is made inside."""
    return interface.sample(kind, fitted, jax.random.key(seed), n)


@partial(jax.jit, static_argnums=0)
def densities_of(
    kind: interface.Sampler, fitted: Fitted, z_nl: Float[Array, "n l"]
) -> Float[Array, " n"]:
    """The log density of each z, nats."""
    return interface.log_prob(kind, fitted, z_nl)


def kept_names(run: Run, best: Best) -> tuple[str, ...]:
    """The samplers that an evaluation of these params kept in the run folder."""
    if read_stored(run, best, "codes") is None:
        return ()
    return kept.names(run.workdir / EVALUATION)


def refuse_other_codes(sampler: Sampler, config: Any, latent_size: int) -> None:
    """Refuses a sampler as p(z) of a model that has other codes, or several layers or labels."""
    for problem in codes_needs("a sampler", config):
        raise UserError(problem)
    if sampler.size != latent_size:
        raise UserError(
            f"the sampler was fitted to codes of {sampler.size} units, and this model has "
            f"{latent_size}: fit another, by vae_jax.fit_sampler"
        )


def kept_sampler(run: Run, best: Best, place: int, name: Any) -> Sampler:
    """The sampler of this name that an evaluation kept, of the lane at this place.

    Raises:
      UserError: there is none of these params.
    """
    there = kept_names(run, best)
    found = None
    if isinstance(name, str) and name in there:
        codes = kept_arrays(run, "codes")["code"]
        found = kept.read(run.workdir / EVALUATION, name, codes)
    if found is None:
        raise UserError(
            f"sampler = {written(name)} should be a Sampler of vae_jax.fit_sampler, or the name "
            f"of one that an evaluation kept in the run folder: {', '.join(there) or 'none is'}"
        )
    return Sampler(found.sampler, found.fitted[place])
