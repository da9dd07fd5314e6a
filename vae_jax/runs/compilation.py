"""Compiles a run's programs before they are needed, and estimates the memory of the run."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from vae_jax.devices.lanes import Layout
from vae_jax.devices.setup import device_memory
from vae_jax.evaluation.bounds import bound
from vae_jax.evaluation.examples import measure_lanes
from vae_jax.folders.checkpoint import template
from vae_jax.memory import host_memory
from vae_jax.models.model import Start
from vae_jax.objectives import Objective
from vae_jax.runs.measure import evaluated_objective
from vae_jax.runs.run import Run, evaluation_labels, make_examples, make_start
from vae_jax.training.average import AVERAGE
from vae_jax.training.feed import BUFFERS, Feed, chunk_size
from vae_jax.training.loop import init_lanes, order_lanes, train_lanes
from vae_jax.training.spec import Spec
from vae_jax.training.step import Examples, State
from vae_jax.training.streams import RunKeys

# Besides the state being trained, the devices hold two snapshots: one that is copied to the host,
# and one of the next chunk. The host holds the newest state and the best params, their previous
# values, and copies being saved. HOST_COPIES and PROCESS were measured in sweeps of 32 to 75 lanes.
SNAPSHOTS = 2
HOST_COPIES = 7
PROCESS = 1_000_000_000  # bytes of jax, its compiler, the data and the figures
FRACTION = 0.8  # of the memory, at most


class Memory(NamedTuple):
    """Bytes that a run needs."""

    device: int  # on every device
    shared: int  # the part of `device` that does not depend on the number of lanes
    host: int  # for the states that the host keeps and saves


def abstract(layout: Layout, tree: Any, spec: P, lanes: int | None = None) -> Any:
    """The shapes that `shard_lanes` (with `lanes` padded lanes) or `replicate` would give."""
    sharding = NamedSharding(layout.mesh, spec)

    def of(leaf: Any) -> jax.ShapeDtypeStruct:
        shape = leaf.shape if lanes is None else (lanes, *leaf.shape[1:])
        return jax.ShapeDtypeStruct(shape, leaf.dtype, sharding=sharding)

    return jax.tree.map(of, tree)


class Shapes(NamedTuple):
    """The arguments of a run's programs, as shapes."""

    spec: Spec
    keys: RunKeys
    state: State
    examples: Examples
    start: Start
    objective: Objective


def shapes_of(run: Run) -> Shapes:
    start = make_start(run)
    state = template(run.spec, start).state
    lanes = (run.spec, run.keys, state, evaluated_objective(run))
    spec, keys, state, objective = abstract(run.layout, lanes, P("lanes"), run.layout.padded)
    examples = make_examples(run)
    examples = examples.blank(run.spec) if isinstance(examples, Feed) else examples
    examples, start = abstract(run.layout, (examples, start), P())
    return Shapes(spec, keys, state, examples, start, objective)


def compile_training(run: Run, its: Shapes) -> jax.stages.Compiled:
    """Compiles the training program into the compilation cache.

    The run itself traces it again and finds it in the cache.
    """
    layout = run.layout
    size = chunk_size(run.spec)
    if not run.data.is_streamed:
        order_lanes.lower(its.spec, layout, its.keys, np.int32(0)).compile()
        size = run.spec.train_size
    order = jax.ShapeDtypeStruct((1, size), np.int32)
    order = abstract(layout, order, P("lanes"), layout.padded)
    arguments = (its.state, its.keys, order, np.int32(0), its.examples)
    return train_lanes.lower(its.spec, layout, *arguments).compile()


def compile_run(run: Run) -> Memory:
    """Compiles all programs of a run into the compilation cache; returns the memory it needs."""
    layout, data, its = run.layout, run.data, shapes_of(run)
    init_lanes.lower(its.spec, layout, its.keys, its.start).compile()
    for split in (data.validation, data.test):
        size = min(run.config.evaluation.batch_size, len(split.images))
        labels = evaluation_labels(run, split)
        rows = (split.images[:size], None if labels is None else labels[:size])
        batch = abstract(layout, (*rows, np.arange(size, dtype=np.int32)), P())
        measure_lanes.lower(
            bound,
            layout,
            0,
            (its.objective, its.state.step),
            its.spec.model,
            {name: part for name, part in its.state.variables.items() if name != AVERAGE},
            its.keys.evaluation,
            *batch,
        ).compile()
    analysis = compile_training(run, its).memory_analysis()
    assert analysis is not None
    padded_bytes = sum(
        math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(its.state)
    )
    state_bytes = padded_bytes // layout.padded * len(run.lanes)
    examples_bytes = its.examples.images.size * its.examples.images.dtype.itemsize
    more = (BUFFERS - 1) * examples_bytes if data.is_streamed else 0  # besides the arguments
    snapshots = SNAPSHOTS * padded_bytes // layout.mesh.shape["lanes"]
    return Memory(
        device=analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        + analysis.temp_size_in_bytes
        - analysis.alias_size_in_bytes
        + snapshots
        + more,
        shared=examples_bytes + more,
        host=HOST_COPIES * state_bytes,
    )


def total(run: Run, memory: Memory) -> int:
    """Bytes on all devices and the host together."""
    return memory.device * run.layout.mesh.devices.size + memory.host + PROCESS


def parts_to_fit(run: Run, memory: Memory) -> int:
    """How many programs the run's lanes must be split into to fit into memory; 1: no split."""
    devices = run.layout.mesh.devices.size
    if run.layout.in_turn:  # devices and host share one memory
        needs = [(total(run, memory), memory.shared * devices + PROCESS, host_memory())]
    else:
        needs = [
            (memory.device, memory.shared, device_memory(run.layout)),
            (memory.host + PROCESS, PROCESS, host_memory()),
        ]
    parts = [
        math.ceil((need - fixed) / max(FRACTION * limit - fixed, 1)) for need, fixed, limit in needs
    ]
    return min(max(1, *parts), len(run.lanes))


def out_of_memory(error: BaseException) -> bool:
    """Whether the error means that a device or the host is out of memory."""
    of_xla = isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
    return of_xla or isinstance(error, MemoryError)
