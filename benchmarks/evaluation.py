"""What does a likelihood with 5,000 samples cost, compared with the matrix products it needs?

    python -m benchmarks evaluation

times importance sampling of IMAGES test images of MNIST under the IWAE's model (784-200-200-50), as
`vae-jax evaluate` does it, and the matrix products alone of equally many decodings. Both run in
turn, ROUNDS times, in one process. Prints the shortest times, their ratio, the time of 10,000
images at that rate, and the peak memory. Writes JSON under benchmarks/results/. Takes about two
minutes on two cores.
"""

import resource
import time
from collections.abc import Callable
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import RESULTS, leave, peak_megabytes
from configs import mnist_iwae
from vae_jax.config.build import Config
from vae_jax.config.check import check
from vae_jax.devices.setup import use_cores
from vae_jax.evaluation.examples import measure_batches
from vae_jax.evaluation.importance_sampling import BLOCK
from vae_jax.evaluation.metrics.likelihood import Nll
from vae_jax.evaluation.metrics.metric import Metric
from vae_jax.runs.measure import GROUPS, subject_of
from vae_jax.runs.run import (
    Lane,
    Run,
    first_state,
    make_dataset,
    make_program,
    on_devices,
)

ROUNDS = 4
SAMPLES, IMAGES, TEST_IMAGES = 5_000, 160, 10_000


def nll_of(run: Run) -> Metric:
    return Nll(SAMPLES).metric(subject_of(run))


def sampling_of(run: Run, images: int) -> Callable[[], float]:
    """A function that measures so many images under each lane; its seconds."""
    spec, _, keys, _ = on_devices(run)
    state, metric = first_state(run), nll_of(run)

    def more() -> float:
        began = time.perf_counter()
        batches = measure_batches(
            metric.measure, run.layout, metric.at_once, Nll(SAMPLES), spec.model, state.variables,
            keys.evaluation, run.data.test.images[:images], None,
            batch_size=GROUPS * metric.at_once,
        )  # fmt: skip
        jax.block_until_ready(list(batches))
        return time.perf_counter() - began

    more()
    return more


def products_of(run: Run, images: int) -> Callable[[], float]:
    """A function that does their decodings' matrix products, on as many cores."""
    config = run.config
    widths = (config.model.latent_size, *config.values["model.decoder.widths"], 784)
    rng = np.random.default_rng(0)
    rows = nll_of(run).at_once * BLOCK
    operands = [
        jnp.array(rng.normal(size=shape), jnp.float32)
        for i, o in pairwise(widths)
        for shape in ((rows, i), (i, o))
    ]

    @jax.jit
    def decode(operands: list[jax.Array]) -> list[jax.Array]:
        return [a @ b for a, b in zip(operands[::2], operands[1::2], strict=True)]

    operands = [jax.device_put(operands, device) for device in run.layout.mesh.devices.flat]
    calls = len(run.lanes) * images * SAMPLES // (rows * len(operands))

    def more() -> float:
        began = time.perf_counter()
        for _ in range(calls):
            jax.block_until_ready([decode(on_device) for on_device in operands])
        return time.perf_counter() - began

    more()
    return more


def run_of(config: Config, lanes: int) -> Run:
    """So many seeds of the config."""
    seeds = [Lane(seed, seed, {}, config) for seed in range(lanes)]
    return make_program(seeds, RESULTS, make_dataset(config))


def main() -> None:
    use_cores()
    config = check(mnist_iwae.get_config())
    rows = {}
    print(f"784-200-200-50, {SAMPLES:,} samples an image")
    heads = ("ms an image", "products, ms", "ratio", "10,000 images, s a lane")
    print(f"{'lanes':>6}{heads[0]:>13}{heads[1]:>14}{heads[2]:>7}{heads[3]:>25}")
    for lanes in (1, 2):
        run = run_of(config, lanes)
        ways = sampling_of(run, IMAGES), products_of(run, IMAGES)
        rounds = [[way() for way in ways] for _ in range(ROUNDS)]
        sampling, products = (
            min(seconds) * 1_000 / (lanes * IMAGES) for seconds in zip(*rounds, strict=True)
        )
        rows[f"{lanes} lanes"] = {"sampling": sampling, "products": products}
        print(
            f"{lanes:6}{sampling:13.1f}{products:14.1f}{sampling / products:7.2f}"
            f"{sampling * TEST_IMAGES / 1_000:25.0f}",
            flush=True,
        )
    peak = peak_megabytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    print(f"peak memory: {peak:.0f} MB")
    leave("evaluation", {"milliseconds an image": rows, "peak_memory_mb": peak})
