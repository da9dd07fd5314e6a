"""Configs of small evaluations."""

from vae_jax.config.check import check
from vae_jax.config.schema import flatten, nest
from vae_jax.folders import folder

NLL = {
    "metrics": ("nll", "latents"),
    "num_importance_samples": 60,
    "draws_at_once": 150,
    "ais": {"images": 5, "chains": 2, "temperatures": 40, "leapfrog_steps": 2},
    "gaps": {"images": 6, "steps": 30},
}


def with_metrics(config, **changes):
    """The config with NLL and the changes; of NLL, what no metric of theirs reads is left out."""
    given = config["evaluation"] | NLL | changes
    plain = check(config | {"evaluation": given}, idle_allowed=True)
    return nest(plain.values | flatten({"evaluation": changes}))


def results_of(workdir):
    return folder.read_json(workdir / folder.RESULTS)
