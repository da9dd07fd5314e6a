"""How long does a step of the deep models take, beside its matrix products alone?

    python -m benchmarks models

times a step of one lane of each config, and every matrix product and convolution of its gradient,
one after another, on random arrays of the same shapes. Prints milliseconds and their ratio, the
time to compile a step without a cache, and the process's peak memory so far. Writes JSON under
benchmarks/results/. Takes a minute and a half on two cores.
"""

import importlib
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import leave, peak_megabytes
from benchmarks.objectives import least, seconds_of, steps_of
from vae_jax.config.build import Config
from vae_jax.config.check import check
from vae_jax.data.dataset import Dataset
from vae_jax.models import make_model
from vae_jax.objectives import loss
from vae_jax.runs.run import Lane, make_dataset, make_program
from vae_jax.words import aligned

CONFIGS = ("default", "mnist_ladder", "mnist_top_down", "mnist_pixelvae")
STEPS = 10
PRODUCTS = ("dot_general", "conv_general_dilated")


def products_in(jaxpr: Any, times: int = 1) -> Iterator[Any]:
    """The matrix products and convolutions of a jaxpr, those of a scan as often as it runs."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in PRODUCTS:
            yield from [equation] * times
        again = times * equation.params.get("length", 1)
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from products_in(inner, again)


def products_of(config: Config, data: Dataset) -> Callable[[], float]:
    """A function that does the products of a step's gradient, of one lane; its seconds."""
    run = make_program([Lane(0, 0, {}, config)], Path(), data)
    spec = jax.tree.map(lambda leaf: leaf[0], run.spec)
    model = make_model(spec.model)
    variables = jax.jit(model.init)(jax.random.key(0))
    x_bd = jnp.zeros((config.training.batch_size, data.train.images.shape[1]))

    def value(params: Any, key: Any) -> Any:
        return loss(
            spec.objective, model, variables | {"params": params}, key, x_bd, None, 0
        ).value.mean()

    jaxpr = jax.make_jaxpr(jax.grad(value))(variables["params"], jax.random.key(0))
    products = list(products_in(jaxpr.jaxpr))
    rng = np.random.default_rng(0)
    operands = [
        tuple(rng.normal(size=v.aval.shape).astype(np.float32) for v in equation.invars)
        for equation in products
    ]

    @jax.jit
    def step(operands: list[tuple[Any, ...]]) -> list[Any]:
        return [
            equation.primitive.bind(*own, **equation.params)
            for equation, own in zip(products, operands, strict=True)
        ]

    return seconds_of(step, jax.device_put(operands), STEPS)


def main() -> None:
    rows: dict[str, dict[str, float]] = {}
    lines = [["one lane", "ms a step", "of products", "ratio", "s to compile", "peak MB"]]
    for name in CONFIGS:
        config = check(importlib.import_module(f"configs.{name}").get_config())
        data = make_dataset(config)
        began = time.perf_counter()
        step = steps_of(config, data, steps=STEPS)  # compiles, and does so many steps
        compiled = time.perf_counter() - began
        # One after the other: while a chunk of steps is waited for, the next one is under way.
        times = least({"step": step})
        times |= least({"products": products_of(config, data)})
        rows[name] = times | {
            "compile": compiled - STEPS * times["step"] / 1000,
            "peak": peak_megabytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss),
        }
        own = rows[name] | {"ratio": times["step"] / times["products"]}
        numbers = {
            "step": ".1f",
            "products": ".1f",
            "ratio": ".2f",
            "compile": ".0f",
            "peak": ".0f",
        }
        lines.append([name, *(format(own[key], digits) for key, digits in numbers.items())])
    print("\n".join(aligned(lines, left={0})))
    leave("models", {"milliseconds, seconds and megabytes": rows})
