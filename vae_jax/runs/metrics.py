"""What an evaluation can measure beside the bound. To add a metric, write it and list it below."""

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import numpy as np

from vae_jax.evaluation.importance_sampling import BLOCK, importance_sampling
from vae_jax.evaluation.latents import active_units, latents

Values = dict[str, Any]
Arrays = dict[str, np.ndarray]  # of one lane: [n, ...], an entry an example


class Metric(NamedTuple):
    """What is measured of each example, and what that comes to.

    measure: (spec, hyper, model, params, key, x [1, d]) -> {name: [1, ...]}, as examples.py has it.
    summary: the arrays of all examples -> the lane's numbers for results.json.
    spec:    config -> measure's static choice.
    at_once: config -> examples side by side on a device.
    cost:    config -> what an example takes, in words.
    """

    measure: Callable[..., dict[str, Any]]
    summary: Callable[[Arrays], dict[str, float]]
    spec: Callable[[Values], Hashable]
    at_once: Callable[[Values], int]
    cost: Callable[[Values], str]


def nll_measure(num_samples, hyper, model, params, key, x_bd):
    """-log p(x) by importance sampling."""
    return importance_sampling(model, params, key, x_bd, num_samples)._asdict()


def nll_summary(arrays: Arrays) -> dict[str, float]:
    """Means over examples; nll_se: the standard error of the mean, over examples."""
    log_likelihood_n = arrays["log_likelihood"].astype(np.float64)
    return {
        "nll": -log_likelihood_n.mean(),
        "nll_se": log_likelihood_n.std(ddof=1) / np.sqrt(len(log_likelihood_n))
        if len(log_likelihood_n) > 1
        else np.nan,
        "effective_sample_size": arrays["effective_sample_size"].mean(dtype=np.float64),
        "dominated": np.mean(arrays["largest_weight"] > 0.5),  # by one draw: a fraction of examples
    }


def latents_measure(spec, hyper, model, params, key, x_bd):
    """Posterior means, and KLs by latent unit."""
    found = latents(model, params, x_bd)._asdict()
    return {name: leaf for name, leaf in found.items() if leaf is not None}


def latents_summary(arrays: Arrays) -> dict[str, float]:
    """How many latent units are active."""
    return {"active_units": active_units(arrays["mean"])}


METRICS: dict[str, Metric | None] = {
    "elbo": None,  # always there
    "latents": Metric(
        measure=latents_measure,
        summary=latents_summary,
        spec=lambda values: None,
        at_once=lambda values: 0,
        cost=lambda values: "an encoding",
    ),
    "nll": Metric(
        measure=nll_measure,
        summary=nll_summary,
        spec=lambda values: values["evaluation.num_importance_samples"],
        at_once=lambda values: max(1, values["evaluation.draws_at_once"] // BLOCK),
        cost=lambda values: f"{values['evaluation.num_importance_samples']:,} decodings",
    ),
}
