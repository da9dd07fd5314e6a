"""Orbax checkpoints: the newest few, each with the state and the best params of every lane."""

import contextlib
import json
import logging
import os
import re
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import Array, Int

from vae_jax.errors import UserError
from vae_jax.folders.formats import FORMAT, PROGRESS
from vae_jax.models.model import Start, Variables
from vae_jax.training.average import evaluated
from vae_jax.training.spec import Spec
from vae_jax.training.step import State, init_state
from vae_jax.training.streams import run_keys

Listed = TypeVar("Listed")

SETTLING_SECONDS, LOOKS = 0.5, 10  # in which a checkpoint that is being removed is gone


def alone() -> ocp.options.MultiprocessingOptions:
    """Orbax's options for one process that saves.

    With several processes only the first one saves, and orbax must not wait for the others.
    """
    several = jax.process_count() > 1
    return ocp.options.MultiprocessingOptions(active_processes={0} if several else None)


class Best(NamedTuple):
    """The part of a State that evaluation needs."""

    step: Int[Array, ""]
    variables: Variables


class Progress(NamedTuple):
    """All of a run at one step: host arrays with a leading axis of lanes."""

    state: State
    best: Best  # of each lane, chosen by its objective on the validation set
    # [lanes], nats: that objective, with the weights of its end; the bound itself, if it has none.
    # -inf before the objective is annealed: until then the best is the newest.
    best_bound: np.ndarray
    wall_seconds: np.ndarray  # [], spent on this run so far, including earlier processes


def template(spec: Spec, start: Start) -> Progress:
    """The Progress of a run before its first step, with zeros as its state; compiles nothing.

    `spec` has a leading axis of lanes.
    """
    lanes = len(np.atleast_1d(spec.objective.beta))
    one = jax.tree.map(lambda leaf: leaf[0], spec)
    shapes = jax.eval_shape(lambda: init_state(one, run_keys(0), start))
    state = jax.tree.map(lambda leaf: np.zeros((lanes, *leaf.shape), leaf.dtype), shapes)
    return Progress(state, best_of(state), np.full(lanes, -np.inf), np.zeros(()))


def best_of(state: State) -> Best:
    """The part of a state that is kept if the state is the best."""
    return Best(state.step, evaluated(state.variables))


def diverged_step(progress: Progress, lane: int) -> int | None:
    """The step at which a lane diverged; None if it did not."""
    step = int(progress.state.diverged_step[lane])
    return step if step >= 0 else None


def is_over(progress: Progress, total_steps: int, patience: int) -> bool:
    """Whether there is nothing left to train.

    All steps are taken, every lane has diverged, or none of the others has improved in `patience`
    steps (0: this is not considered).
    """
    healthy = progress.state.diverged_step < 0
    since_k = progress.state.step - progress.best.step
    impatient = bool(patience) and bool((since_k >= patience)[healthy].all())
    return int(progress.state.step[0]) >= total_steps or not healthy.any() or impatient


def status(progress: Progress, lane: int, healthy: str) -> str:
    """`diverged`, or `healthy`: `done`, `running` or `stopped` (by a callback)."""
    return healthy if diverged_step(progress, lane) is None else "diverged"


def checksum(progress: Progress) -> int:
    """The crc32 of every byte of every array."""
    crc = 0
    for leaf in jax.tree.leaves(progress):
        crc = zlib.crc32(np.ascontiguousarray(leaf).data, crc)
    return crc


def meta_of(progress: Progress, beside: dict[str, Any]) -> dict[str, Any]:
    """What is saved beside the arrays of a checkpoint, with checksums of both."""
    meta = {"crc32": checksum(progress), "format": FORMAT, "beside": beside}
    return meta | {"meta_crc32": meta_checksum(meta)}


def meta_checksum(meta: dict[str, Any]) -> int:
    """The crc32 of all entries but itself."""
    content = {name: value for name, value in meta.items() if name != "meta_crc32"}
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def refuse_damaged_meta(meta: dict[str, Any]) -> None:
    """Raises ValueError if it is not as it was saved; before format 3 it had no checksum."""
    known = "meta_crc32" in meta or meta.get("format", 1) >= 3
    if known and meta.get("meta_crc32") != meta_checksum(meta):
        raise ValueError("the checksum of what is saved beside it does not match")


def better(
    progress: Progress, state: State, score: np.ndarray, counts: np.ndarray, keep: str
) -> tuple[Best, np.ndarray]:
    """The best of each lane, and its score.

    It is `state` if its score [lanes] is the highest of the epochs that count. Until one counts, it
    is the newest. A diverged lane keeps its old best.

    Args:
      counts: [lanes], whether the objective is annealed.
      keep: "best", or "last" for the newest.
    """
    improved = score > progress.best_bound  # False for NaN
    improved = (improved | ~counts | (keep == "last")) & (state.diverged_step < 0)
    score = np.where(counts, score, -np.inf)

    def choose(new: np.ndarray, old: np.ndarray) -> np.ndarray:
        return np.where(improved.reshape((-1,) + (1,) * (new.ndim - 1)), new, old)

    best = jax.tree.map(choose, best_of(state), progress.best)
    return best, np.where(improved, score, progress.best_bound)


class Checkpoints:
    """The folder of checkpoints, a context manager; it saves in the background.

    `keep`: how many of the newest to keep; None: read only, as another process may be saving.
    """

    def __init__(self, folder: Path, keep: int | None):
        self.folder = folder
        self.failed = False
        self.keep = keep
        self.restored: dict[str, Any] = {}  # what was saved beside the restored checkpoint

    def __enter__(self) -> "Checkpoints":
        self.quiet = quiet_orbax()
        self.quiet.__enter__()
        if self.keep is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        self.manager = self._listed(
            lambda: ocp.CheckpointManager(
                self.folder.absolute(),
                item_names=("arrays", "meta"),
                options=ocp.CheckpointManagerOptions(
                    max_to_keep=self.keep,
                    create=False,
                    read_only=self.keep is None,
                    cleanup_tmp_directories=self.keep is not None,
                    multiprocessing_options=alone(),
                ),
            )
        )
        return self

    def _listed(self, look: Callable[[], Listed]) -> Listed:
        """What `look` returns; where another process trains, a checkpoint may go as it looks."""
        for _ in range(LOOKS if self.keep is None else 0):
            try:
                return look()
            except FileNotFoundError:
                time.sleep(SETTLING_SECONDS / LOOKS)
        return look()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Waits for pending saves. If the block raised an error, no other error replaces it."""
        try:
            self.manager.close()
        except Exception as unsaved:
            if error is None:
                raise self._not_written(unsaved) from unsaved
        finally:
            if self.failed or error is not None:
                time.sleep(0.3)  # for late errors, which `quiet_orbax` silences
            self.quiet.__exit__(None, None, None)
            if self.failed:  # at exit, asyncio logs the failed save's unread futures
                logging.getLogger("asyncio").setLevel(logging.CRITICAL)

    def save(self, step: int, progress: Progress, beside: dict[str, Any]) -> None:
        """Waits for the previous save, then starts this one. The arrays must not change afterwards.

        Args:
          beside: more to save, for JSON; `restored` after a restore.

        Raises:
          UserError: this or the previous checkpoint could not be written.
        """
        try:
            self.manager.save(
                step,
                args=ocp.args.Composite(
                    arrays=ocp.args.StandardSave(progress),
                    meta=ocp.args.JsonSave(meta_of(progress, beside)),
                ),
            )
        except Exception as error:
            raise self._not_written(error) from error

    def wait(self) -> None:
        """Waits until all saves are on disk. Raises UserError if one could not be written."""
        try:
            self.manager.wait_until_finished()
        except Exception as error:
            raise self._not_written(error) from error

    def restore(self, template: Progress | Callable[[dict[str, Any]], Progress]) -> Progress | None:
        """The newest intact checkpoint; None if there is no checkpoint.

        `template` has its structure, shapes and types, or is a function that makes such a template
        from what was saved beside it.
        For each newer checkpoint, all damaged, it prints a line and, unless read only, renames the
        checkpoint.

        Raises:
          UserError: there are checkpoints, but none is intact, or the intact one is of another
            config; no file was changed.
        """
        damaged: dict[int, str] = {}
        tried: set[int] = set()
        while untried := self._untried(tried):
            step = max(untried)
            tried.add(step)
            try:
                meta = self._read(step, meta=ocp.args.JsonRestore()).meta
                refuse_damaged_meta(meta)
                as_saved, of_saved = PROGRESS[meta.get("format", 1)]
                beside = meta.get("beside", {})
                like = template if isinstance(template, Progress) else template(beside)
                wanted = as_saved(like)
                arrays = self._read(step, arrays=ocp.args.StandardRestore(wanted)).arrays
                if checksum(arrays) != meta["crc32"]:
                    raise ValueError("its checksum does not match")
            except Exception as error:
                self.failed = True
                damaged[step] = cause(error)
                continue
            refuse_other_shapes(self.folder, arrays, wanted)
            damaged = {other: damaged[other] for other in damaged if self._is_there(other)}
            for other, problem in damaged.items():
                print(f"the checkpoint at step {other} is damaged ({problem}), taking one before")
                if self.keep is not None:
                    self._put_aside(other)
            self.restored = beside
            return of_saved(arrays, like)
        if damaged:
            raise UserError(
                f"no checkpoint in {self.folder} is whole ("
                + "; ".join(f"step {step}: {problem}" for step, problem in damaged.items())
                + "); remove the run folder to start over"
            )
        return None

    def _untried(self, tried: set[int]) -> set[int]:
        """The steps that are there besides those tried.

        The process that trains removes old checkpoints meanwhile, and writes newer ones.
        """
        steps = set(self.manager.all_steps()) - tried
        if not steps and tried and self.keep is None:
            time.sleep(SETTLING_SECONDS)
            self._listed(self.manager.reload)
            steps = set(self.manager.all_steps()) - tried
        return steps

    def _is_there(self, step: int) -> bool:
        return (self.folder / str(step)).exists()

    def _read(self, step: int, **items: Any) -> Any:
        return self.manager.restore(step, args=ocp.args.Composite(**items))

    def _put_aside(self, step: int) -> None:
        """Renames a damaged checkpoint, so that its step can be saved again."""
        aside = self.folder.with_name(f"damaged_checkpoint_{step}_{time.time_ns()}")
        (self.folder / str(step)).rename(aside)
        self.manager.reload()

    def _not_written(self, error: Exception) -> UserError:
        self.failed = True
        steps = sorted(self.manager.all_steps(read=True))
        last = f"the last whole one is at step {steps[-1]}" if steps else "there is none yet"
        return UserError(
            f"a checkpoint could not be written to {self.folder} ({cause(error)}); {last}; "
            "make room and run the same command again"
        )


def refuse_other_shapes(folder: Path, restored: Progress, template: Progress) -> None:
    """Raises UserError if the array shapes of an intact checkpoint do not fit this config."""
    pairs = zip(jax.tree.leaves_with_path(restored), jax.tree.leaves(template), strict=True)
    for (path, leaf), wanted in pairs:
        if leaf.shape != wanted.shape:
            raise UserError(
                f"the checkpoint in {folder} is of another config than the config.json beside it: "
                f"{jax.tree_util.keystr(path)} has shape {leaf.shape} there, {wanted.shape} here"
            )


@contextlib.contextmanager
def quiet_orbax() -> Iterator[None]:
    """Silences what orbax prints about errors, so that the user sees each error once, as raised.

    Orbax also logs errors with their tracebacks. It reads and writes arrays concurrently: if one
    fails, the others end later, find the event loop closed, and each prints another error.
    """
    loggers = [logging.getLogger("absl"), logging.getLogger("asyncio")]
    levels = [logger.level for logger in loggers]
    hook = sys.unraisablehook

    def without_stragglers(unraisable: Any) -> None:
        if "Event loop is closed" not in str(unraisable.exc_value):
            hook(unraisable)

    sys.unraisablehook = without_stragglers
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def cause(error: Exception) -> str:
    """The cause in a few words: the operating system's message, or the error's first line."""
    text = str(error)
    if number := re.search(r"os_error_code='(\d+)'", text):
        return os.strerror(int(number.group(1)))
    return (text.strip().splitlines() or [type(error).__name__])[0][:200]
