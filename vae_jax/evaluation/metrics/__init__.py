"""What an evaluation can measure beside the bound. To add a metric, write it and list it below."""

from vae_jax.evaluation.metrics import codes, likelihood, samples
from vae_jax.evaluation.metrics.metric import Metric

# In the order of the tables.
METRICS: dict[str, Metric | None] = {
    "elbo": None,  # always there
    "nll": likelihood.nll,
    "nll_active": likelihood.nll_active,
    "ais": likelihood.ais,
    "gaps": likelihood.gaps_metric,
    "surgery": codes.surgery_metric,
    "latents": codes.latents_metric,
    "probes": codes.probes,
    "disentanglement": codes.disentanglement,
    "samples": samples.samples,
}
