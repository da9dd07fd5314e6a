"""What is optimised. To add an objective, write its function and list it here.

An objective is (model, params, key, x [b, d], hyper, num_samples) -> (loss, Terms).
"""

from vae_jax.objectives import elbo
from vae_jax.objectives.objective import Objective

OBJECTIVES: dict[str, Objective] = {"elbo": elbo.elbo}
