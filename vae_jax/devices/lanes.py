"""Runs a function of one lane for all lanes: on which devices, and in parallel or in turn."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, get_abstract_mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Int

from vae_jax.devices.pool import usable_devices


class Layout(NamedTuple):
    """The lanes on a mesh of devices with the axes (lanes, data). Static and hashable.

    Every row of the mesh takes an equal share of the lanes; the devices of a row share the
    batches of its lanes.
    """

    lanes: int
    mesh: Mesh
    at_once: int = 0  # lanes that a device computes side by side; 0: what suits the platform

    @property
    def padded(self) -> int:
        """Lanes on the devices: equally many in every row; the last ones may be padding."""
        rows = self.mesh.shape["lanes"]
        return -(-self.lanes // rows) * rows

    @property
    def in_turn(self) -> bool:
        """Whether, by default, a device runs its lanes one after the other, not all at once.

        A CPU does: a lane's state stays in its cache for a whole chunk of steps, where a vmapped
        step streams the states of all lanes through it (sixteen lanes of 784-400-20 take a fifth
        less time this way, and each has the bits of a run alone).
        """
        return self.mesh.devices.flat[0].platform == "cpu"

    @property
    def one_by_one(self) -> bool:
        """Whether a device computes one lane at a time, so that lanes may be of any length."""
        return self.at_once == 1 or (self.at_once == 0 and self.in_turn)


def layout(lanes: int, data_devices: int = 1, at_once: int = 0) -> Layout:
    """Lanes over all devices that may be used, `data_devices` of them to a lane's batch."""
    devices = np.array(jax.devices())
    rows = max(1, min(lanes, usable_devices() // data_devices))
    return Layout(
        lanes, Mesh(devices[: rows * data_devices].reshape(rows, -1), ("lanes", "data")), at_once
    )


def map_lanes(
    layout: Layout, function: Callable[..., Any], per_lane: tuple[Any, ...], shared: tuple[Any, ...]
) -> Any:
    """`function(*lane, *shared)` of every lane; call it inside a jit.

    The arrays of `per_lane`, and the results, have a leading axis of `layout.padded` lanes.
    """

    traced_once = jax.jit(function, inline=True)

    def on_a_device(
        index: Int[Array, " lanes"], per_lane: tuple[Any, ...], shared: tuple[Any, ...]
    ) -> Any:
        def one(index_and_lane: tuple[Int[Array, ""], tuple[Any, ...]]) -> Any:
            index, lane = index_and_lane
            # A branch that XLA compiles by itself: so a lane has the same bits whatever the number
            # of lanes. It is not taken for padding. The barrier hides that it may be constant.
            nothing = jax.eval_shape(traced_once, *lane, *shared)
            return jax.lax.cond(
                jax.lax.optimization_barrier(index) < layout.lanes,
                lambda: traced_once(*lane, *shared),
                lambda: jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), nothing),
            )

        at_once = layout.at_once or len(index)
        if layout.one_by_one or at_once == 1:
            return jax.lax.map(one, (index, per_lane))
        if at_once < len(index):
            return jax.lax.map(lambda lane: function(*lane, *shared), per_lane, batch_size=at_once)
        return jax.vmap(lambda lane: function(*lane, *shared))(per_lane)

    if jax.config.jax_disable_jit:  # type: ignore[attr-defined]  # computed op by op, to find errors
        return on_a_device(jnp.arange(layout.padded), per_lane, shared)
    return jax.shard_map(
        on_a_device,
        mesh=layout.mesh,
        in_specs=(P("lanes"), P("lanes"), P()),
        out_specs=P("lanes"),
        axis_names={"lanes"},  # the compiler spreads what is marked over the axis `data` itself
        check_vma=False,
    )(jnp.arange(layout.padded), per_lane, shared)


def share_batch(x: jax.Array) -> jax.Array:
    """Spreads the leading axis over the devices of a row; for use inside `map_lanes`."""
    return jax.lax.with_sharding_constraint(x, NamedSharding(get_abstract_mesh(), P("data")))


def _on_devices(sharding: NamedSharding, leaf: Any, rows: Any = ...) -> jax.Array:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_on_devices(sharding, jax.random.key_data(leaf), rows))
    array = np.asarray(leaf)[rows]  # on the host: on a device, each operation is a program
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def shard_lanes(layout: Layout, tree: Any) -> Any:
    """Host arrays with a leading axis of lanes, spread over the devices and padded."""
    sharding = NamedSharding(layout.mesh, P("lanes"))
    rows = np.minimum(np.arange(layout.padded), layout.lanes - 1)
    return jax.tree.map(lambda leaf: _on_devices(sharding, leaf, rows), tree)


def as_sharded(layout: Layout, tree: Any) -> Any:
    """Arrays that a program of all lanes returned, with the sharding of `shard_lanes`.

    The placement is the same, and nothing is copied. But on one device jax names it differently,
    and a program that was compiled for one name would be compiled again for the other.
    """
    return jax.device_put(tree, NamedSharding(layout.mesh, P("lanes")))


def replicate(layout: Layout, tree: Any) -> Any:
    """Host arrays that all lanes share, on every device."""
    sharding = NamedSharding(layout.mesh, P())
    return jax.tree.map(lambda leaf: _on_devices(sharding, leaf), tree)


def to_host(layout: Layout, tree: Any) -> Any:
    """Copies in host memory, without the padding."""
    if jax.process_count() > 1:
        tree = multihost_utils.process_allgather(tree, tiled=True)
    return jax.tree.map(
        lambda leaf: np.array(leaf[: layout.lanes], copy=True), jax.device_get(tree)
    )
