"""What compiling a training program takes, beside the same steps written plainly.

    python -m tests.training.compiling

prints it as JSON: for each of PROGRAMS the processor's seconds, how many instructions the optimised
program has in all and in its largest fusion, and how many operations its loop over steps launches.
In a process of its own, with all of XLA's
optimisations: a program that grew past what the compiler can do is killed from outside.
"""

import json
import re
import time
from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.kernels import launches
from configs import default
from vae_jax.config.build import Config, make_spec
from vae_jax.config.check import check
from vae_jax.config.schema import nest
from vae_jax.data.dataset import Dataset, Split
from vae_jax.devices.lanes import layout, replicate, shard_lanes
from vae_jax.models.model import NO_START
from vae_jax.training.loop import init_lanes, order_lanes, train_lanes
from vae_jax.training.spec import Spec
from vae_jax.training.step import Examples
from vae_jax.training.streams import lane_keys

# What differs from configs/default.py, 784-400-20 by default.
PROGRAMS: dict[str, dict[str, Any]] = {
    "elbo": {},
    "iwae": {"objective.name": "iwae", "objective.num_samples": 5},
}
IMAGES = np.zeros((256, 784), np.uint8)


def chosen(changes: dict[str, Any]) -> tuple[Config, Spec]:
    """configs/default.py with changes, for IMAGES; the spec of one lane, with its axis."""
    config = check(nest(check(default.get_config()).values | changes))
    split = Split(IMAGES, None)
    data = Dataset(split, split, split, (28, 28, 1), dynamic=True, binary=True, identity={})
    return config, make_spec([config], data)


def lowered(changes: dict[str, Any]) -> jax.stages.Lowered:
    """The training program of one lane."""
    on = layout(1)
    spec, keys = shard_lanes(on, (chosen(changes)[1], lane_keys([0])))
    state = init_lanes(spec, on, keys, NO_START)
    order = order_lanes(spec, on, keys, np.int32(0))
    examples = replicate(on, Examples(IMAGES))
    return train_lanes.lower(spec, on, state, keys, order, np.int32(1), examples)


def plainly_lowered() -> jax.stages.Lowered:
    """A hundred steps of the same network by the ELBO, as an example would have them."""
    sizes = {"hidden": (784, 400), "q": (400, 40), "up": (20, 400), "logits": (400, 784)}
    params = {name: (jnp.zeros(size), jnp.zeros(size[1])) for name, size in sizes.items()}
    adam = optax.adam(1e-3)

    def loss_of(params, key, grey):
        def layer(name, x):
            weights, bias = params[name]
            return x @ weights + bias[None]

        key_x, key_z = jax.random.split(key)
        x = jax.random.bernoulli(key_x, grey).astype(jnp.float32)
        mean, log_scale = jnp.split(layer("q", jax.nn.relu(layer("hidden", x))), 2, axis=1)
        z = mean + jnp.exp(log_scale) * jax.random.normal(key_z, mean.shape)
        logits = layer("logits", jax.nn.relu(layer("up", z)))
        reconstruction = x * logits - jax.nn.softplus(logits)
        kl = 0.5 * (jnp.exp(2 * log_scale) + mean**2 - 1) - log_scale
        return jnp.mean(kl.sum(1) - reconstruction.sum(1))

    @jax.jit
    def train(params, moments, key, images):
        def body(i, carry):
            params, moments = carry
            rows = jax.lax.dynamic_slice(images, (128 * (i % 2), 0), (128, 784)) / 255.0
            gradients = jax.grad(loss_of)(params, jax.random.fold_in(key, i), rows)
            updates, moments = adam.update(gradients, moments)
            return optax.apply_updates(params, updates), moments

        return jax.lax.fori_loop(0, 100, body, (params, moments))

    return train.lower(params, adam.init(params), jax.random.key(0), IMAGES)


def sizes(hlo: str) -> tuple[int, int]:
    """The instructions of a module in all, and in its largest fusion."""
    found: Counter[str] = Counter()
    computation = ""
    for line in hlo.splitlines():
        if head := re.match(r"(?:ENTRY )?%?([\w.-]+) .*\{$", line):
            computation = head[1]
        elif " = " in line:
            found[computation] += 1
    fused = re.findall(r"fusion\(.*calls=%?([\w.-]+)", hlo)
    return found.total(), max(found[name] for name in fused)


def compiled(program: jax.stages.Lowered) -> dict[str, float]:
    """What compiling it took, and came to. Processor seconds: other processes count for less."""
    began = time.process_time()
    hlo = program.compile().as_text() or ""
    seconds = time.process_time() - began
    total, largest = sizes(hlo)
    launched = sum(launches(hlo).values())
    return {
        "seconds": seconds,
        "instructions": total,
        "largest_fusion": largest,
        "launches": launched,
    }


if __name__ == "__main__":
    jax.jit(jnp.sin)(1.0)  # the compiler's own start is no program's
    found = {"plain": compiled(plainly_lowered())}
    found |= {name: compiled(lowered(changes)) for name, changes in PROGRAMS.items()}
    print(json.dumps(found))
