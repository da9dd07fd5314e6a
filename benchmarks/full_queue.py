"""Wrong matrix products on several CPU devices, by jax alone: docs/wrong_products.md.

    PJRT_NPROC=2 python benchmarks/full_queue.py [devices [steps [batch,pixels,units]]]

Every device multiplies the same matrices of small whole numbers, so every product is known exactly.
PJRT_NPROC is the number of threads in XLA's pool (at least one for each device). Prints how many
products were wrong; code 1 if any was. Wrong with 2 threads and 2 devices, from about step 113 on;
right with 3 threads, or one device. Seen with jax 0.8.0, 0.10.2 and 0.12.0.1 (2026-11-29).
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

FILLERS = 16  # arrays whose kernels XLA runs on two threads, as they are of 1 MB
given = sys.argv[1:]
devices, steps = (int(text) for text in (*given[:2], *("2", "200")[len(given[:2]) :]))
batch, pixels, units = map(int, (given[2] if len(given) > 2 else "400,16384,64").split(","))
jax.config.update("jax_num_cpu_devices", devices)

rng = np.random.default_rng(0)
x = rng.integers(-4, 4, (batch, pixels)).astype(np.float32)
y = rng.integers(-4, 4, (batch, units)).astype(np.float32)
product = x.T @ y  # exact, whatever the order of the sums


def on_a_device(x: jax.Array, y: jax.Array, product: jax.Array, steps: jax.Array) -> jax.Array:
    """How many elements of the product are wrong in each step [1, 1000]."""

    def step(
        i: jax.Array, carry: tuple[jax.Array, list[jax.Array]]
    ) -> tuple[jax.Array, list[jax.Array]]:
        wrong, fillers = carry
        sign = (1 - 2 * (i % 2)).astype(jnp.float32)  # so that no step equals the one before
        fillers = [filler * sign for filler in fillers]  # each leaves a task in a thread's queue
        result = jnp.dot((x * sign).T, y)
        return wrong.at[0, i].set(jnp.sum(result != product * sign)), fillers

    fillers = [jnp.full((512, 512), i + 1.0) for i in range(FILLERS)]
    start = jnp.zeros((1, 1000), jnp.int32), fillers
    wrong, fillers = jax.lax.fori_loop(0, steps, step, start)
    return wrong + (sum(fillers)[0, 0] > 1e6)  # so that XLA keeps the fillers


mesh = Mesh(np.array(jax.devices()), ("devices",))
run = jax.jit(
    jax.shard_map(on_a_device, mesh=mesh, in_specs=P(), out_specs=P("devices"), check_vma=False)
)
wrong = np.asarray(run(x, y, product, jnp.int32(steps)))[:, :steps]
for device, elements in enumerate(wrong):
    bad = np.flatnonzero(elements)
    first = f"; the first in step {bad[0]}, in {elements[bad[0]]:,} elements" if len(bad) else ""
    print(f"device {device}: {len(bad)} of {steps} products of {product.size:,} are wrong{first}")
raise SystemExit(int(wrong.any()))
