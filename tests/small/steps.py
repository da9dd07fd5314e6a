"""Lanes that are trained for a few steps, without a run folder."""

import numpy as np

from tests.small.models import mlp_spec
from vae_jax.devices.lanes import layout, replicate, shard_lanes, to_host
from vae_jax.models import ModelSpec
from vae_jax.models.model import NO_START
from vae_jax.objectives import Objective
from vae_jax.sections.declare import replace, stack
from vae_jax.training.loop import init_lanes, train_chunks
from vae_jax.training.optimizer import Optimizer
from vae_jax.training.spec import Spec, Training
from vae_jax.training.step import Examples
from vae_jax.training.streams import lane_keys

SPEC = Spec(
    model=ModelSpec(latent_size=2, encoder=mlp_spec(5), decoder=mlp_spec(5), image_shape=(2, 3, 1)),
    objective=Objective(),
    optimizer=Optimizer(unclipped=True),
    training=Training(batch_size=8),
    train_size=43,
    dynamic=True,
    chunk_steps=5,
)
IMAGES = np.random.default_rng(0).integers(0, 256, (43, 6), dtype=np.uint8)


def with_rate(spec: Spec, rate: float) -> Spec:
    return replace(spec, optimizer=replace(spec.optimizer, learning_rate=rate))


def trained(seeds, rates, chunks=(5, 5, 5), images=IMAGES, spec=SPEC, on=None, specs=None):
    """Lanes of one spec, each with a seed and a learning rate; or of `specs`."""
    on = layout(len(seeds)) if on is None else on
    lanes = specs or [with_rate(spec, rate) for rate in rates]
    stacked, keys = shard_lanes(on, (stack(lanes), lane_keys(seeds)))
    examples = replicate(on, Examples(images))
    state = init_lanes(stacked, on, keys, NO_START)
    history, at = [], 0
    for num_steps in chunks:
        program = (stacked, on, keys, examples, state)
        for chunk in train_chunks(*program, first_step=at, total_steps=at + num_steps):
            at, state = chunk.step, chunk.state
            history.append(chunk.metrics)
    return to_host(on, state), to_host(on, history)
