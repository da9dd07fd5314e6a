"""What an evaluation can measure beside the bound. To add a metric, write it and list it below."""

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.evaluation.aggregate_posterior import surgery
from vae_jax.evaluation.annealed_importance_sampling import (
    Annealing,
    annealed_importance_sampling,
    bracket,
)
from vae_jax.evaluation.disentanglement import (
    factor_vae_score,
    modularity,
    mutual_information_gap,
)
from vae_jax.evaluation.importance_sampling import BLOCK, importance_sampling
from vae_jax.evaluation.latents import active_units, latents
from vae_jax.probability.gaussian import Gaussian

SURGERY_DRAWS = 2_000  # of z, each against all examples
DOMINATES = 0.5  # of the weight, in one draw

Values = dict[str, Any]
Arrays = dict[str, np.ndarray]  # of one lane: [n, ...], an entry an example


class Metric(NamedTuple):
    """What is measured of each example, and what that comes to.

    measure: (spec, hyper, model, params, key, x [1, d]) -> {name: [1, ...]}, as examples.py has it.
    summary: the arrays of all examples, and their factors -> the lane's numbers for results.json.
    cost:    config -> what an example takes, in words.
    spec:    config -> measure's static choice.
    at_once: config -> examples side by side on a device; 0: a batch of the evaluation's.
    images:  config -> of so many test images, the first; None: of all.
    """

    measure: Callable[..., dict[str, Any]]
    summary: Callable[[Arrays, np.ndarray | None], dict[str, float]]
    cost: Callable[[Values], str]
    spec: Callable[[Values], Hashable] = lambda values: None
    at_once: Callable[[Values], int] = lambda values: 0
    images: Callable[[Values], int | None] = lambda values: None


def standard_error(values_n: np.ndarray) -> float:
    """Of the mean, from the values' own spread; NaN for fewer than two."""
    if len(values_n) < 2:
        return np.nan
    return float(np.std(values_n, ddof=1) / np.sqrt(len(values_n)))


class AisSpec(NamedTuple):
    """The chains, and how many draws they are compared with."""

    annealing: Annealing
    num_importance_samples: int


def ais_spec(values: Values) -> AisSpec:
    """The static choice."""
    annealing = Annealing(
        values["evaluation.ais.chains"],
        values["evaluation.ais.temperatures"],
        values["evaluation.ais.leapfrog_steps"],
    )
    return AisSpec(annealing, values["evaluation.num_importance_samples"])


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


def ais_summary(arrays: Arrays, factors_nf) -> dict[str, float]:
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


def nll_measure(num_samples, hyper, model, params, key, x_bd):
    """log p(x)."""
    return importance_sampling(model, params, key, x_bd, num_samples)._asdict()


def nll_summary(arrays: Arrays, factors_nf) -> dict[str, float]:
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


def latents_measure(spec, hyper, model, params, key, x_bd):
    """Posterior means, and KLs by latent unit."""
    found = latents(model, params, x_bd)._asdict()
    return {name: leaf for name, leaf in found.items() if leaf is not None}


def latents_summary(arrays: Arrays, factors_nf) -> dict[str, float]:
    """How many latent units are active."""
    return {"active_units": active_units(arrays["mean"])}


def disentanglement_summary(arrays: Arrays, factors_nf) -> dict[str, float]:
    """Scores of the posterior means against the factors that the images were made of."""
    codes_nl = arrays["mean"].astype(np.float64)
    return {
        "mig": mutual_information_gap(codes_nl, factors_nf),
        "modularity": modularity(codes_nl, factors_nf),
        "factor_vae_score": factor_vae_score(0, codes_nl, factors_nf),
    }


def surgery_measure(spec, hyper, model, params, key, x_bd):
    """The diagonal q(z | x)."""
    return model.encode(params, x_bd)._asdict()


def surgery_summary(arrays: Arrays, factors_nf) -> dict[str, float]:
    """The mean KL in three parts, with their Monte Carlo errors."""
    q = Gaussian(jnp.asarray(arrays["mean"]), jnp.asarray(arrays["log_scale"]))
    return surgery(jax.random.key(0), q, SURGERY_DRAWS)._asdict()


METRICS: dict[str, Metric | None] = {
    "ais": Metric(
        measure=ais_measure,
        summary=ais_summary,
        spec=ais_spec,
        at_once=lambda values: max(
            1, values["evaluation.draws_at_once"] // values["evaluation.ais.chains"]
        ),
        cost=lambda values: (
            f"2 x {values['evaluation.ais.chains']} chains of "
            f"{values['evaluation.ais.temperatures']:,} moves of "
            f"{values['evaluation.ais.leapfrog_steps']} gradients"
        ),
        images=lambda values: values["evaluation.ais.images"],
    ),
    "disentanglement": Metric(
        measure=latents_measure,
        summary=disentanglement_summary,
        cost=lambda values: "an encoding",
    ),
    "elbo": None,  # always there
    "latents": Metric(
        measure=latents_measure,
        summary=latents_summary,
        cost=lambda values: "an encoding",
    ),
    "nll": Metric(
        measure=nll_measure,
        summary=nll_summary,
        spec=lambda values: values["evaluation.num_importance_samples"],
        at_once=lambda values: max(1, values["evaluation.draws_at_once"] // BLOCK),
        cost=lambda values: f"{values['evaluation.num_importance_samples']:,} decodings",
    ),
    "surgery": Metric(
        measure=surgery_measure,
        summary=surgery_summary,
        cost=lambda values: f"an encoding, and its density at {SURGERY_DRAWS:,} draws",
    ),
}
