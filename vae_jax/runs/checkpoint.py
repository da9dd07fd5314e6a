"""Checkpoints by orbax: the last few, each holding every lane's state and every lane's best."""

import logging
import os
import re
import sys
import time
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from vae_jax.errors import UserError
from vae_jax.training.keys import lane_keys
from vae_jax.training.loop import init_lanes
from vae_jax.training.spec import Hyperparameters, Spec
from vae_jax.training.step import State


class Progress(NamedTuple):
    """What a run is at a step: host arrays with a leading axis of lanes."""

    state: State
    best: State  # each lane's own, by validation ELBO, with its optimiser state
    best_elbo: np.ndarray  # [lanes], nats; -inf before the first validation
    wall_seconds: np.ndarray  # [], spent on this run so far, over all its processes


class Restored(NamedTuple):
    """What was found: the newest whole checkpoint, and {step: problem} of newer damaged ones."""

    progress: Progress
    damaged: dict[int, str]


def template(spec: Spec, hyper: Hyperparameters) -> Progress:
    """The Progress of a run that has done nothing, zeros for its state; nothing is compiled."""
    lanes = len(hyper.objective.beta)
    keys = lane_keys([0] * lanes)
    shapes = jax.eval_shape(lambda: init_lanes(spec, hyper, keys, None))
    state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    return Progress(state, state, np.full(lanes, -np.inf), np.zeros(()))


def checksum(progress: Progress) -> int:
    """The crc32 of every byte of every array."""
    crc = 0
    for leaf in jax.tree.leaves(progress):
        crc = zlib.crc32(np.ascontiguousarray(leaf).data, crc)
    return crc


def better(progress: Progress, state: State, elbo: np.ndarray) -> tuple[State, np.ndarray]:
    """Each lane's best: `state` where its validation ELBO [lanes] is the highest so far."""
    improved = elbo > progress.best_elbo  # False for NaN

    def choose(new, old):
        return np.where(improved.reshape((-1,) + (1,) * (new.ndim - 1)), new, old)

    best = jax.tree.map(choose, state, progress.best)
    return best, np.where(improved, elbo, progress.best_elbo)


class Checkpoints:
    """The folder of checkpoints; saving goes on in the background.

    `keep`: how many of the newest stay; None: to read only, beside a run that may be saving.
    """

    def __init__(self, folder: Path, keep: int | None):
        # Orbax logs every save and, with its traceback, every error that it also raises.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        self.hook = sys.unraisablehook
        sys.unraisablehook = self._quiet
        self.failed = False
        self.folder = folder
        self.manager = ocp.CheckpointManager(
            folder.absolute(),
            item_names=("arrays", "meta"),
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep, read_only=keep is None, cleanup_tmp_directories=keep is not None
            ),
        )

    def save(self, step: int, progress: Progress) -> None:
        """Starts to save; waits for the save before. Arrays must not change afterwards.

        Raises:
          UserError: the disk did not take this one or the one before.
        """
        try:
            self.manager.save(
                step,
                args=ocp.args.Composite(
                    arrays=ocp.args.StandardSave(progress),
                    meta=ocp.args.JsonSave({"crc32": checksum(progress)}),
                ),
            )
        except Exception as error:
            raise self._not_written(error) from error

    def wait(self) -> None:
        """Until what was saved is on disk. Raises UserError if it could not be written."""
        try:
            self.manager.wait_until_finished()
        except Exception as error:
            raise self._not_written(error) from error

    def restore(self, template: Progress) -> Restored | None:
        """The newest checkpoint that is whole; None if there is no checkpoint. Changes nothing.

        `template` has its structure, shapes and types.

        Raises:
          UserError: there are checkpoints, but none is whole.
        """
        damaged: dict[int, str] = {}
        for step in sorted(self.manager.all_steps(), reverse=True):
            try:
                found = self.manager.restore(
                    step,
                    args=ocp.args.Composite(
                        arrays=ocp.args.StandardRestore(template), meta=ocp.args.JsonRestore()
                    ),
                )
            except Exception as error:
                damaged[step] = cause(error)
                self._expect_stragglers()
                continue
            if checksum(found.arrays) == found.meta["crc32"]:
                return Restored(found.arrays, damaged)
            damaged[step] = "its checksum does not match"
        if damaged:
            raise UserError(
                f"no checkpoint in {self.folder} is whole ("
                + "; ".join(f"step {step}: {problem}" for step, problem in damaged.items())
                + "); remove the run folder to start over"
            )
        return None

    def discard(self, steps) -> None:
        """Removes checkpoints, so that these steps can be saved again."""
        for step in steps:
            self.manager.delete(step)

    def close(self) -> None:
        if self.failed:
            time.sleep(0.3)  # for the stragglers
        self.manager.close()
        sys.unraisablehook = self.hook

    def _expect_stragglers(self) -> None:
        """Orbax reads and writes arrays side by side. Where one fails, the others end later and
        find its event loop closed; each would print a traceback of what is told already."""
        self.failed = True
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)

    def _quiet(self, unraisable) -> None:
        if "Event loop is closed" not in str(unraisable.exc_value):
            self.hook(unraisable)

    def _not_written(self, error: Exception) -> UserError:
        self._expect_stragglers()
        steps = sorted(self.manager.all_steps(read=True))
        last = f"the last whole one is at step {steps[-1]}" if steps else "there is none yet"
        return UserError(
            f"a checkpoint could not be written to {self.folder} ({cause(error)}); {last}; "
            "make room and run the same command again"
        )


def cause(error: Exception) -> str:
    """Why, in a few words: what the operating system said, if it did, or the first line."""
    text = str(error)
    if number := re.search(r"os_error_code='(\d+)'", text):
        return os.strerror(int(number.group(1)))
    return (text.strip().splitlines() or [type(error).__name__])[0][:200]


def on_host(tree: Any) -> Any:
    """Copies of the arrays, in host memory: safe from a donated buffer being used again."""
    return jax.tree.map(lambda array: np.array(array, copy=True), jax.device_get(tree))
