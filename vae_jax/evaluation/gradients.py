"""The quality of gradient estimators: variance, signal-to-noise ratio and bias.

Params and minibatch are fixed: samples differ only in the noise of the estimator.

References: Rainforth et al. 2018, Tighter Variational Bounds are Not Necessarily Better; Tucker,
Lawson, Gu and Maddison 2018, Doubly Reparameterized Gradient Estimators.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from scipy import stats

from vae_jax.models.model import Model, Params, Variables
from vae_jax.objectives import Objective, loss

END = 1e9  # a step after any warm-up
Parts = dict[str, Any]  # {part: its params, or a gradient by them}

# The params of q(z | x), and those of p(x, z).
PARTS = {"encoder": ("encoder", "posterior"), "decoder": ("decoder", "likelihood", "prior")}


ROUNDING = 1e-5  # of float32, after a sum over examples


class Moments(NamedTuple):
    """Moments of n independent samples of the gradient of one part of the params."""

    mean: Any  # by parameter
    variance: Any  # by parameter, unbiased
    projection_nr: Float[Array, "n r"]  # each sample's length along r directions


class Quality(NamedTuple):
    """The quality of an estimator, for one part of the params."""

    variance: Float[Array, ""]
    signal_to_noise: Float[Array, ""]
    projection_nr: Float[Array, "n r"]


class BiasTest(NamedTuple):
    """A test of the hypothesis that two estimators have the same mean."""

    largest_t: float  # the largest |t| of the directions
    p_value: float  # upper bound on the probability of such a |t| under the hypothesis


def parts_of(params: Params) -> Parts:
    """Sorts the params by PARTS."""
    return {
        part: {name: params[name] for name in names if name in params}
        for part, names in PARTS.items()
    }


def directions(key: Key[Array, ""], parts: Parts, r: int) -> Parts:
    """Draws r random unit vectors [r, ...] in the space of each part's params."""

    def directions_of(key: Key[Array, ""], tree: Any) -> Any:
        leaves, structure = jax.tree.flatten(tree)
        keys = jax.random.split(key, len(leaves))
        vectors = [
            jax.random.normal(k, (r, *leaf.shape)) for k, leaf in zip(keys, leaves, strict=True)
        ]
        length_r = jnp.sqrt(sum(jnp.sum(jnp.square(v.reshape(r, -1)), axis=1) for v in vectors))
        units = [v / length_r.reshape(r, *(1,) * (v.ndim - 1)) for v in vectors]
        return jax.tree.unflatten(structure, units)

    keys = jax.random.split(key, len(parts))
    return {
        name: directions_of(k, tree) for k, (name, tree) in zip(keys, parts.items(), strict=True)
    }


def project(gradient: Any, directions: Any) -> Float[Array, " r"]:
    """The gradient's length along each direction."""
    pairs = zip(jax.tree.leaves(directions), jax.tree.leaves(gradient), strict=True)
    return jnp.stack([v.reshape(len(v), -1) @ g.ravel() for v, g in pairs]).sum(axis=0)


def moments(
    sample: Callable[[Key[Array, ""]], Parts], keys_n: Key[Array, " n"], directions: Parts
) -> dict[str, Moments]:
    """Mean and variance of `sample(key)` over the keys, one after the other.

    Memory is that of a few gradients, whatever n (Welford 1962).
    """
    like = jax.eval_shape(sample, jax.ShapeDtypeStruct((), keys_n.dtype))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)

    def add(carry: tuple[Parts, Parts], count_and_key: Any) -> tuple[tuple[Parts, Parts], Any]:
        mean, squares = carry
        count, key = count_and_key
        gradient = sample(key)
        away = jax.tree.map(jnp.subtract, gradient, mean)
        mean = jax.tree.map(lambda m, a: m + a / count, mean, away)
        squares = jax.tree.map(lambda s, a, g, m: s + a * (g - m), squares, away, gradient, mean)
        along = {part: project(leaves, directions[part]) for part, leaves in gradient.items()}
        return (mean, squares), along

    n = len(keys_n)
    counts_n = jnp.arange(1.0, n + 1)
    (mean, squares), along = jax.lax.scan(add, (zeros, zeros), (counts_n, keys_n))
    variance = jax.tree.map(lambda s: s / (n - 1), squares)
    return {part: Moments(mean[part], variance[part], along[part]) for part in along}


def total_variance(of: Moments) -> Float[Array, ""]:
    """E|g - E g|^2: the trace of the gradient's covariance, estimated without bias."""
    return sum((jnp.sum(v) for v in jax.tree.leaves(of.variance)), start=jnp.float32(0))


def signal_to_noise(of: Moments) -> Float[Array, ""]:
    """mean over parameters of |mean g| / std g, those without noise left out; 0 if all are.

    Mean and std are those of the n samples, so the ratio of pure noise is sqrt(2 / (pi n)), not 0:
    see `noise_floor`. A parameter is without noise if it has no gradient, such as the weight of a
    pixel that is always 0, or if its gradient does not depend on z: what is left is rounding.
    """
    ratios, counts = jnp.float32(0), jnp.float32(0)
    for mean, variance in zip(jax.tree.leaves(of.mean), jax.tree.leaves(of.variance), strict=True):
        moves = variance > jnp.square(ROUNDING * mean)
        ratio = jnp.abs(mean) / jnp.sqrt(jnp.where(moves, variance, 1.0))
        ratios += jnp.sum(jnp.where(moves, ratio, 0.0))
        counts += jnp.sum(moves)
    return ratios / jnp.maximum(counts, 1)


def noise_floor(n: int) -> float:
    """The signal-to-noise ratio that n samples show of a gradient whose mean is 0."""
    return float(np.sqrt(2 / (np.pi * n)))


def gradient_quality(
    model: Model,
    variables: Variables,
    keys_n: Key[Array, " n"],
    x_bd: Float[Array, "b d"],
    objective: Objective,
    directions: Parts,
    label_b: Any = None,
) -> tuple[Float[Array, ""], dict[str, Quality]]:
    """The mean of the bound (the loss's negative, nats per example), and each part's Quality.

    The gradient is that of the objective's loss, a mean over the minibatch, without a regulariser,
    at the end of any warm-up.
    """

    def sample(key: Key[Array, ""]) -> Parts:
        def loss_of(params: Params) -> Float[Array, ""]:
            changed = variables | {"params": params}
            return loss(objective, model, changed, key, x_bd, label_b, END, regularized=False).value

        value, gradient = jax.value_and_grad(loss_of)(variables["params"])
        return parts_of(gradient) | {"loss": value}

    by_part = moments(sample, keys_n, directions | {"loss": jnp.ones(1)})
    bound = -by_part.pop("loss").mean
    return bound, {
        part: Quality(total_variance(of), signal_to_noise(of), of.projection_nr)
        for part, of in by_part.items()
    }


def bias_test(
    projection_nr: Float[Array | np.ndarray, "n r"],
    reference_nr: Float[Array | np.ndarray, "m r"],
) -> BiasTest:
    """Whether two estimators, by independent samples, have the same mean along every direction.

    Welch's t-test of the two means along each of the r directions, for samples that are normal or
    many. The p-value is r times the smallest one (Bonferroni): if the means are equal, p <= a has
    at most probability a, even if the directions are dependent. A bias d is found if n |d|^2 is a
    few times the sum of the two total variances, whatever the number of params.
    """
    samples = [np.asarray(x, np.float64) for x in (projection_nr, reference_nr)]
    moments_of = [(x.mean(axis=0), x.std(axis=0, ddof=1), len(x)) for x in samples]
    t_r, p_r = stats.ttest_ind_from_stats(*moments_of[0], *moments_of[1], equal_var=False)
    # Equal constants give 0 / 0.
    t_r, p_r = np.nan_to_num(np.abs(t_r), nan=0.0, posinf=np.inf), np.nan_to_num(p_r, nan=1.0)
    return BiasTest(float(t_r.max()), float(min(1.0, len(p_r) * p_r.min())))
