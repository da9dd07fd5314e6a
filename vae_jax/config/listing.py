"""Everything that a config key can name, with a line on each."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from vae_jax.data import DATASETS
from vae_jax.data.binarization import BINARIZATIONS
from vae_jax.evaluation.metrics import METRICS
from vae_jax.models import MODELS
from vae_jax.networks import DECODERS, ENCODERS
from vae_jax.objectives import OBJECTIVES
from vae_jax.objectives.corruption import CORRUPTIONS
from vae_jax.objectives.importance import BOUNDS, ESTIMATORS
from vae_jax.objectives.regularizers import REGULARIZERS
from vae_jax.probability.likelihoods import LIKELIHOODS
from vae_jax.probability.posteriors import POSTERIORS
from vae_jax.probability.priors import PRIORS
from vae_jax.training.optimizer import OPTIMIZERS, SCHEDULES

# How the ELBO takes its KL.
KLS = {"analytic": "in closed form", "sampled": "over the draws that the reconstruction takes"}

# The estimators of a bound's gradient: those of several draws, and the ELBO's own.
GRADIENTS: dict[str, Any] = ESTIMATORS | {
    "sticking_the_landing": "log q(z | x) reaches the encoder through z alone (Roeder et al. 2017)"
}

FAMILIES: dict[str, Mapping[str, Any]] = {
    "dataset.name": DATASETS,
    "dataset.binarization": BINARIZATIONS,
    "model.name": MODELS,
    "model.encoder.name": ENCODERS,
    "model.decoder.name": DECODERS,
    "model.likelihood": LIKELIHOODS,
    "model.prior": PRIORS,
    "model.posterior": POSTERIORS,
    "objective.name": OBJECTIVES | {name: bound.value for name, bound in BOUNDS.items()},
    "objective.gradient": GRADIENTS,
    "objective.kl": KLS,
    "objective.regularizer": REGULARIZERS,
    "objective.corruption": CORRUPTIONS,
    "optimizer.name": OPTIMIZERS,
    "optimizer.schedule.name": SCHEDULES,
    "evaluation.metrics": {
        name: "always there" if metric is None else metric.summary
        for name, metric in METRICS.items()
    },
}


def described(member: Any) -> str:
    """The first line of what a member says of itself; "" where it says nothing."""
    if isinstance(member, str):
        return member
    documented = getattr(member, "log_prob", member)  # a likelihood's equation
    if isinstance(documented, partial):  # a network's layers
        documented = documented.args[0]
    text = getattr(documented, "__doc__", None) or ""
    return text.strip().split("\n")[0].rstrip(".") if callable(documented) else ""


def listing() -> str:
    """Every family and its members."""
    lines = []
    for key, family in FAMILIES.items():
        lines.append(f"--config.{key}=")
        width = max(map(len, family))
        lines += [f"  {n:<{width}}  {described(m)}".rstrip() for n, m in sorted(family.items())]
    return "\n".join(lines)
