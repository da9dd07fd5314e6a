"""Numbers for the tests of networks that compile nothing to be sampled."""

import jax
import numpy as np


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def sampled(network, seed=0, *more):
    """Params of the network's shapes, none of them 0: for what does not depend on `init`.

    more: what its `init` takes beside the key.
    """
    shapes, tree = jax.tree.flatten(jax.eval_shape(network.init, jax.random.key(0), *more))
    leaves = [
        normal([seed, i], *leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]) or 1).astype(np.float32)
        for i, leaf in enumerate(shapes)
    ]
    return jax.tree.unflatten(tree, leaves)
