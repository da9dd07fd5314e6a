"""A run that starts as another, finished run: `training.start_from`."""

import zlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from vae_jax.devices.lanes import shard_lanes, to_host
from vae_jax.errors import UserError
from vae_jax.folders import folder
from vae_jax.folders.checkpoint import template
from vae_jax.folders.kinds import Kind, kind_of
from vae_jax.models.model import Variables
from vae_jax.runs.load import load_progress
from vae_jax.runs.run import Run, first_state, lanes_of, make_program, make_start
from vae_jax.sections.checks import path_of
from vae_jax.sections.declare import replace
from vae_jax.training.spec import START_FROM, TRAINED
from vae_jax.training.step import State


class Loaded(NamedTuple):
    """The best params and stats of the run that this one starts from."""

    path: Path
    seeds: tuple[int, ...]
    steps: list[int]  # of each lane's best
    variables: Variables  # host arrays [lanes, ...]


def loaded(run: Run) -> Loaded:
    """The run that `run` starts from.

    Raises:
      UserError: there is no finished run, or it is of other data or seeds.
    """
    path = path_of(run.config.training.start_from)
    head = f"{START_FROM} = {run.config.training.start_from!r}"
    if kind_of(path) is not Kind.RUN:
        raise UserError(f"{head} should be the folder of a finished run; there is none")
    if not (path / folder.RESULTS).exists() or not folder.is_finished(path):
        raise UserError(f"{head} is a run that is not finished; train it to its end first")
    config = folder.read_config(path, run.config.members)
    seeds = config.training.seeds
    for lane in run.lanes:
        if lane.seed not in seeds:
            raise UserError(
                f"{head} has the seeds {', '.join(map(str, seeds))}, and a lane starts from that "
                f"of its own seed; training.seeds = {run.config.training.seeds} should be among "
                "them"
            )
    progress = load_progress(make_program(lanes_of(config), path, run.data))
    best = progress.best
    return Loaded(path, seeds, [int(step) for step in best.step], best.variables)


def refuse_other_start(run: Run) -> None:
    """Raises UserError if the run can't start as training.start_from says, or if training.trained
    names what the model does not have."""
    training = run.config.training
    if not training.start_from and not training.trained:
        return
    if not training.start_from:
        raise UserError(
            f"{TRAINED} = {training.trained} leaves all other params as they start; {START_FROM} "
            "should be the folder of a finished run"
        )
    spec = replace(run.spec, training=replace(run.spec.training, trained=()))
    shapes = template(spec, make_start(run)).state.variables
    for name in training.trained:
        if name not in shapes["params"]:
            raise UserError(
                f"{TRAINED} = {training.trained} should be among the parts of the params of "
                f"{run.config.model.named()}: {', '.join(shapes['params'])}"
            )
    taken_parts(run, loaded(run), shapes)


def taken_parts(run: Run, source: Loaded, own: Variables) -> dict[str, list[str]]:
    """The parts of the params and stats that are taken: those of equal names and shapes.

    Raises:
      UserError: another part has to be taken too, as it is not trained.
    """
    trained = run.config.training.trained
    taken: dict[str, list[str]] = {}
    for kind in ("params", "stats"):
        taken[kind] = []
        for name, part in own[kind].items():
            if same_shapes(part, source.variables[kind].get(name)):
                taken[kind].append(name)
            elif name not in trained:
                raise UserError(
                    f"{START_FROM}: {name!r} of the {kind} has other shapes in {source.path}; the "
                    f"model should be the same there, or {TRAINED} name {name!r}"
                )
    return taken


def same_shapes(one: Any, other: Any) -> bool:
    """Whether two trees of arrays have the same structure and shapes, whatever their lanes."""
    structures: list[Any] = [jax.tree.structure(tree) for tree in (one, other)]
    if structures[0] != structures[1]:
        return False
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(a.shape[1:] == b.shape[1:] for a, b in pairs)


def started_state(run: Run) -> State:
    """The state of all lanes before the first step, on the devices."""
    state = first_state(run)
    if not run.config.training.start_from:
        return state
    source = loaded(run)
    state = to_host(run.layout, state)
    rows = [source.seeds.index(lane.seed) for lane in run.lanes]
    variables = dict(state.variables)
    for kind, names in taken_parts(run, source, variables).items():
        found = {name: source.variables[kind][name] for name in names}
        variables[kind] = variables[kind] | jax.tree.map(lambda leaf: leaf[rows], found)
    return shard_lanes(run.layout, state._replace(variables=variables))


def about_start(run: Run) -> dict[str, Any]:
    """What environment.json says of the run that this one starts from; {}: there is none."""
    if not run.config.training.start_from:
        return {}
    source = loaded(run)
    crc = 0
    for leaf in jax.tree.leaves(source.variables):
        crc = zlib.crc32(np.ascontiguousarray(leaf).data, crc)
    return {"started_from": {"path": str(source.path), "steps": source.steps, "crc32": crc}}
