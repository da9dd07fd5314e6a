"""Metrics that are log p(x), or lean on it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.evaluation.annealed_importance_sampling import (
    Annealing,
    annealed_importance_sampling,
    bracket,
)
from vae_jax.evaluation.gaps import Search, gaps
from vae_jax.evaluation.importance_sampling import BLOCK, importance_sampling
from vae_jax.evaluation.latents import ACTIVE, activity
from vae_jax.evaluation.metrics.metric import (
    Arrays,
    Column,
    Metric,
    Numbers,
    Subject,
    first,
    lane_by_lane,
    standard_error,
)
from vae_jax.models.model import ModelHyper

DOMINATES = 0.5  # of the weight, in one draw


def nll_measure(num_samples: int, hyper, model, params, key, x_bd):
    """log p(x)."""
    return importance_sampling(model, params, key, x_bd, num_samples)._asdict()


def nll_summary(arrays: Arrays, subject: Subject) -> Numbers:
    """-log p(x) by importance sampling.

    Means over examples; nll_se: the standard error of the mean, over examples.
    """
    log_likelihood_n = arrays["log_likelihood"].astype(np.float64)
    return {
        "nll": -log_likelihood_n.mean(),
        "nll_se": standard_error(log_likelihood_n),
        "effective_sample_size": arrays["effective_sample_size"].mean(dtype=np.float64),
        "dominated": np.mean(arrays["largest_weight"] > DOMINATES),  # a fraction of examples
    }


def nll_at_once(subject: Subject) -> int:
    """As many examples as have so many draws side by side."""
    return max(1, subject.values["evaluation.draws_at_once"] // BLOCK)


def nll_cost(subject: Subject) -> str:
    return f"{subject.values['evaluation.num_importance_samples']:,} decodings"


nll = Metric(
    measure=nll_measure,
    summary=lane_by_lane(nll_summary),
    columns=(Column("nll", of_likelihood=True),),
    spec=lambda subject: subject.values["evaluation.num_importance_samples"],
    at_once=nll_at_once,
    cost=nll_cost,
)


def nll_active_summary(arrays: Arrays, subject: Subject) -> Numbers:
    """-log p(x) of the model without the latent units that are not active (Burda et al. 2015).

    They are at 0 for the decoder, and their KL is 0.
    """
    log_likelihood_n = arrays["log_likelihood"].astype(np.float64)
    return {
        "nll_active": -log_likelihood_n.mean(),
        "nll_active_se": standard_error(log_likelihood_n),
    }


def only_active(subject: Subject, kept: dict[str, Arrays]) -> ModelHyper:
    """The lanes' own, every latent unit that is not active masked."""
    mean_knl = kept["latents"]["mean"]
    mask_kl = jnp.array([activity(mean_nl) > ACTIVE for mean_nl in mean_knl], jnp.float32)
    return subject.model_hyper._replace(latent_mask=mask_kl)


nll_active = nll._replace(
    summary=lane_by_lane(nll_active_summary),
    columns=(Column("nll_active", of_likelihood=True),),
    stream="nll",  # so that the two differ by the units alone
    needs=("latents",),
    model_hyper=only_active,
)


class AisSpec(NamedTuple):
    """The chains, how many draws they are compared with, and of how many images."""

    annealing: Annealing
    num_importance_samples: int
    images: int


def ais_spec(subject: Subject) -> AisSpec:
    """The static choice."""
    annealing = Annealing(
        subject.values["evaluation.ais.chains"],
        subject.values["evaluation.ais.temperatures"],
        subject.values["evaluation.ais.leapfrog_steps"],
    )
    return AisSpec(
        annealing,
        subject.values["evaluation.num_importance_samples"],
        subject.values["evaluation.ais.images"],
    )


def ais_measure(spec: AisSpec, hyper, model, params, key, x_bd):
    """Of an image, both estimates of log p(x); and the bracket of an image of the model's own."""
    keys = jax.random.split(key, 3)
    found = annealed_importance_sampling(model, params, keys[0], x_bd, spec.annealing)
    around = bracket(model, params, keys[1], spec.annealing)
    other = importance_sampling(model, params, keys[2], x_bd, spec.num_importance_samples)
    return found._asdict() | {
        "importance_log_likelihood": other.log_likelihood,
        "lower": around.lower,
        "upper": around.upper,
    }


def ais_summary(arrays: Arrays, subject: Subject) -> Numbers:
    """-log p(x) of some images by annealed importance sampling, and how far off that can be.

    Means over images; ais_gap: upper - lower bound of log p(x) of simulated images;
    importance_gap: nll by importance sampling - by annealed, of the same images.
    """
    log_likelihood_n = arrays["log_likelihood"].astype(np.float64)
    gap_n = (arrays["upper"] - arrays["lower"]).astype(np.float64)
    importance_gap_n = log_likelihood_n - arrays["importance_log_likelihood"]
    return {
        "ais_nll": -log_likelihood_n.mean(),
        "ais_nll_se": standard_error(log_likelihood_n),
        "ais_gap": gap_n.mean(),
        "ais_gap_se": standard_error(gap_n),
        "importance_gap": importance_gap_n.mean(),
        "importance_gap_se": standard_error(importance_gap_n),
        "ais_acceptance": arrays["acceptance"].mean(dtype=np.float64),
        "ais_effective_sample_size": arrays["effective_sample_size"].mean(dtype=np.float64),
    }


def ais_cost(subject: Subject) -> str:
    spec = ais_spec(subject).annealing
    return (
        f"2 x {spec.chains} chains of {spec.temperatures:,} moves of {spec.leapfrog_steps} "
        "gradients"
    )


ais = Metric(
    measure=ais_measure,
    summary=lane_by_lane(ais_summary),
    columns=(
        Column("ais_nll", of_likelihood=True),
        Column("ais_gap", of_likelihood=True),
        Column("importance_gap", of_likelihood=True),
    ),
    spec=ais_spec,
    at_once=lambda subject: max(
        1, subject.values["evaluation.draws_at_once"] // subject.values["evaluation.ais.chains"]
    ),
    cost=ais_cost,
    inputs=lambda subject: first(subject.data.test, subject.values["evaluation.ais.images"]),
)


class GapsSpec(NamedTuple):
    """The search for the best q, and of how many images."""

    search: Search
    images: int


def gaps_spec(subject: Subject) -> GapsSpec:
    """The static choice."""
    search = Search(
        steps=subject.values["evaluation.gaps.steps"],
        num_importance_samples=subject.values["evaluation.num_importance_samples"],
    )
    return GapsSpec(search, subject.values["evaluation.gaps.images"])


def gaps_measure(spec: GapsSpec, hyper, model, params, key, x_bd):
    """Both ELBOs and log p(x)."""
    return gaps(model, params, key, x_bd, spec.search)._asdict()


def gaps_summary(arrays: Arrays, subject: Subject) -> Numbers:
    """What the family of q(z | x) costs of log p(x), and what the encoder's choice of it does.

    Means over some images, nats; both are 0 where q(z | x) is the true posterior.
    """
    elbo_n, optimized_n, log_likelihood_n = (
        arrays[name].astype(np.float64) for name in ("elbo", "optimized_elbo", "log_likelihood")
    )
    approximation_n, amortization_n = log_likelihood_n - optimized_n, optimized_n - elbo_n
    return {
        "approximation_gap": approximation_n.mean(),
        "approximation_gap_se": standard_error(approximation_n),
        "amortization_gap": amortization_n.mean(),
        "amortization_gap_se": standard_error(amortization_n),
    }


def gaps_cost(subject: Subject) -> str:
    search = gaps_spec(subject).search
    return (
        f"{search.steps:,} steps of {search.draws} draws, and "
        f"{search.num_importance_samples:,} decodings"
    )


gaps_metric = Metric(
    measure=gaps_measure,
    summary=lane_by_lane(gaps_summary),
    columns=(
        Column("approximation_gap", of_likelihood=True),
        Column("amortization_gap", of_likelihood=True),
    ),
    spec=gaps_spec,
    at_once=nll_at_once,
    cost=gaps_cost,
    inputs=lambda subject: first(subject.data.test, subject.values["evaluation.gaps.images"]),
)
