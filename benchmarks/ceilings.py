"""How fast could a step of a Work be on this machine?

A lower limit of its time, the floor, is the sum of two times. The first is that of its matrix
products, at the rate of the machine's best product. The second is that of the data that elementwise
work has to move, at the rate of memory, or of the cache that the data fit in. No code reaches this
floor: products of a minibatch are thin, and the rest of a step (random numbers, exp, activations)
takes time too. A second, softer floor is the time of the products alone, as XLA runs them, one
after another, at the work's own sizes.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.machine import accelerator
from benchmarks.objectives import products_of
from benchmarks.systems import answer_of
from benchmarks.work import Work, config_of, work_from

FLOAT = 4  # bytes
LARGE = 128 * 2**20  # bytes: more than a cache holds
SIZES, SIZES_OF_ACCELERATORS = (1024, 2048), (4096, 8192)
REPEATS = 5


class Product(NamedTuple):
    """x [rows, inputs] @ w [inputs, outputs], w's gradient and, unless x is the image, x's."""

    rows: int
    inputs: int
    outputs: int
    biases: int
    image: bool = False

    @property
    def flops(self) -> int:
        return 2 * self.rows * self.inputs * self.outputs * (2 if self.image else 3)

    @property
    def params(self) -> int:
        return self.inputs * self.outputs + self.biases


def products(work: Work) -> list[Product]:
    """The products of one step, from the image up and from z down.

    A convolution is the product of its patches with its kernel, a transposed one of its inputs,
    those with the zeros around the image counted too: every system here multiplies them.
    """
    b, heads, decoded = work.batch_size, 2 * work.latent_size, work.num_samples * work.batch_size
    last, turned = work.widths[-1], work.widths[::-1]
    if work.network == "mlp":
        up = [Product(b, i, o, o) for i, o in pairwise((784, *work.widths, heads))]
        down = [Product(decoded, i, o, o) for i, o in pairwise((work.latent_size, *turned, 784))]
        return [up[0]._replace(image=True), *up[1:], *down]
    sides = [28 // 2**i for i in range(len(work.widths) + 1)]
    up = [
        Product(b * side**2, 16 * i, o, o)
        for side, (i, o) in zip(sides[1:], pairwise((1, *work.widths)), strict=True)
    ]
    features = sides[-1] ** 2 * last
    middle = [
        Product(b, features, heads, heads),
        Product(decoded, work.latent_size, features, features),
    ]
    down = [
        Product(decoded * side**2, i, 16 * o, o)
        for side, (i, o) in zip(sides[:0:-1], pairwise((last, *turned)), strict=True)
    ]
    output = Product(decoded * 784, 9 * work.widths[0], 1, 1)
    return [up[0]._replace(image=True), *up[1:], *middle, *down, output]


class Counts(NamedTuple):
    """What a step can't do without."""

    flops: int  # of its products
    bytes: int  # moved by elementwise work
    params: int


def counts(work: Work) -> Counts:
    """FLOPs of the products, forward and backward: 2 for each multiplication and addition.

    Bytes, in float32 unless said, of what lies between products and can't be fused into one:
    Adam reads the params, both moments and the gradient, and writes the params and both moments;
    the minibatch is read (uint8), binarised and written; the loss reads it, reads the logits of
    every sample of z, and writes their gradient. Hidden layers count nothing: their activations
    could be applied as a product is written. Random numbers, exponentials and logarithms count
    nothing.
    """
    all_products = products(work)
    params = sum(product.params for product in all_products)
    pixels = 784 * work.batch_size
    adam = (4 + 3) * params * FLOAT
    loss = pixels + 2 * pixels * FLOAT + 2 * work.num_samples * pixels * FLOAT
    return Counts(sum(product.flops for product in all_products), adam + loss, params)


def floor_milliseconds(work: Work, gflops: float, gigabytes_per_second: float) -> float:
    """A step's floor at these rates."""
    least = counts(work)
    return 1_000 * (least.flops / (gflops * 1e9) + least.bytes / (gigabytes_per_second * 1e9))


def least_seconds(way: Callable[[], Any]) -> float:
    """The least seconds of REPEATS calls after a first one."""
    jax.block_until_ready(way())
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        jax.block_until_ready(way())
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def peak_gflops(sizes: tuple[int, ...]) -> float:
    """The rate of float32 products of squares, at jax's default precision, in the best size."""
    product = jax.jit(jnp.matmul)
    squares = (jnp.ones((n, n)) for n in sizes)
    return max(2e-9 * len(a) ** 3 / least_seconds(partial(product, a, a)) for a in squares)


def gigabytes_per_second(size: int) -> float:
    """The rate of y <- x / 2 + y, over arrays of so many bytes: two are read, one is written.

    A size that fits in a cache gives the cache's rate.
    """
    length = size // (2 * FLOAT)
    pass_bytes = 3 * FLOAT * length
    passes = max(1, 2**30 // pass_bytes)

    @jax.jit
    def run(x: jax.Array, y: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, passes, lambda _, y: 0.5 * x + y, y)

    x = jnp.ones(length)
    return 1e-9 * passes * pass_bytes / least_seconds(partial(run, x, x))


def measure(work: Work) -> dict[str, Any]:
    """The rates of this machine, for a work whose floor is asked; in a process of its own.

    Bandwidth is measured with as many bytes as the optimiser's four arrays have, or with LARGE if
    that is more: on an accelerator a small pass would measure its launch.
    """
    device = accelerator()
    size = 4 * FLOAT * counts(work).params
    rates: dict[str, Any] = {
        "accelerator": device,
        "gflops": peak_gflops(SIZES_OF_ACCELERATORS if device else SIZES),
        "array_mb": size / 1e6,
        "gigabytes_per_second": max(gigabytes_per_second(size), gigabytes_per_second(LARGE)),
    }
    if work.network == "mlp":  # convolutions have no one form as products
        step = products_of(config_of(work), 784)
        rates["products_milliseconds"] = 1_000 * min(step() for _ in range(REPEATS))
    return rates


def in_a_process(work: Work) -> dict[str, Any]:
    """The rates of this machine, measured in a process of its own."""
    return answer_of("benchmarks.ceilings", work)


def best(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """The highest rates, and the shortest time."""
    return rounds[0] | {
        name: (min if name == "products_milliseconds" else max)(rates[name] for rates in rounds)
        for name in ("gflops", "gigabytes_per_second", "products_milliseconds")
        if name in rounds[0]
    }


if __name__ == "__main__":
    (fields,) = json.loads(sys.argv[1])
    print(json.dumps(measure(work_from(fields))))
