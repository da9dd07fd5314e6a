"""Distributions of z that are fitted to the codes of a trained model.

To add one, write its dataclass, as interface.py says, and list it here.
"""

import dataclasses
from typing import Any

from vae_jax.evaluation.samplers.flow import Flow
from vae_jax.evaluation.samplers.gaussians import Gaussian, Mixture
from vae_jax.evaluation.samplers.interface import Sampler
from vae_jax.evaluation.samplers.two_stage import TwoStage

PRIOR = "prior"  # not fitted: the model's own p(z)
SAMPLERS: dict[str, Any] = {
    "gaussian": Gaussian,
    "mixture": Mixture,
    "flow": Flow,
    "two_stage": TwoStage,
}
DOCS = {name: (sampler.__doc__ or "").splitlines()[0] for name, sampler in SAMPLERS.items()}


def sampler_of(name: str, numbers: Any) -> Sampler:
    """The sampler of this name; its numbers are attributes of `numbers`."""
    fields = dataclasses.fields(SAMPLERS[name])
    return SAMPLERS[name](**{field.name: getattr(numbers, field.name) for field in fields})
