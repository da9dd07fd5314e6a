"""Trains a run: every lane in one program, from its last checkpoint to its end."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from vae_jax.devices.lanes import shard_lanes, to_host
from vae_jax.devices.processes import any_process, from_first, is_first
from vae_jax.errors import Stopped
from vae_jax.evaluation.bounds import KL_BY_UNIT, LOG_SCALE_BY_UNIT, MEAN_BY_UNIT, Terms
from vae_jax.folders import folder
from vae_jax.folders.checkpoint import (
    Best,
    Checkpoints,
    Progress,
    best_of,
    better,
    diverged_step,
    is_over,
    status,
    template,
)
from vae_jax.folders.lanes import RUNNING, STOPPED
from vae_jax.objectives import annealed_step, is_the_bound, validation_score
from vae_jax.runs.measure import evaluate_state
from vae_jax.runs.observer import Observer, ends, may_end, never, wants_stop
from vae_jax.runs.run import Run, lane_objective, make_start, on_devices
from vae_jax.runs.signals import stop_on_signal
from vae_jax.runs.start import about_start, started_state
from vae_jax.training.loop import Chunk, train_chunks
from vae_jax.training.step import Metrics, State

OF_THE_CODES = (MEAN_BY_UNIT, LOG_SCALE_BY_UNIT)  # which validation does not need


class Validated(NamedTuple):
    """What a validation gives."""

    terms: dict[str, Any]  # Terms of the validation set
    state: State
    views: Sequence[Any]  # of the state, one of each observer


class Finished(NamedTuple):
    """A chunk that is finished, on the host; the devices compute the next one meanwhile."""

    step: int  # the step count after the chunk
    num_steps: int
    metrics: Metrics
    diverged_step: Any  # [lanes]
    validated: Validated | None
    state: State | None = None  # on the devices: of the last chunk, and where `may_end`


def train_run(run: Run, began: float, observers: Sequence[Observer] = ()) -> Progress:
    """Trains the run to its end, or to where an observer ends it.

    The folder is locked and started.

    Args:
      began: time.monotonic() when work on the run began.
      observers: what follows the run; they are called in this order.

    Raises:
      Stopped: SIGTERM or SIGINT was received, or an observer wanted it; the state is saved.
    """
    with contextlib.ExitStack() as stack:
        checkpoints = None
        if is_first():
            path, keep = run.workdir / folder.CHECKPOINTS, run.config.log.keep_checkpoints
            checkpoints = stack.enter_context(Checkpoints(path, keep))
        state, done = first_progress(run, checkpoints)
        first_step = int(done.state.step[0])
        if checkpoints:
            rows = checkpoints.restored.get("rows")
            if rows:
                folder.restore_rows(run.workdir, folder.Rows(*rows))
            else:  # there is no checkpoint yet, or it is of an earlier version
                folder.cut_rows(run.workdir, first_step)
        for observer in observers:
            observer.begins([first_step] * len(run.lanes))
        done = train_lanes_to_end(run, checkpoints, state, done, began, observers)
    if is_first():
        healthy = "done" if is_over(done, run.total_steps, run.patience) else STOPPED
        folder.write_lanes(run.workdir, lane_rows(run, done, healthy))
    return done


def first_progress(run: Run, checkpoints: Checkpoints | None) -> tuple[State, Progress]:
    """The state on the devices and the progress on the host: restored, or initialised."""
    empty = template(run.spec, make_start(run))
    restored = checkpoints.restore(empty) if checkpoints else None
    if checkpoints:
        folder.refuse_other_identity(run.workdir, checkpoints.restored, run.data.identity)
        folder.refuse_other_code(run.workdir, checkpoints.restored, run.config)
    if any_process(restored is not None):
        done = from_first(restored or empty)
        return shard_lanes(run.layout, done.state), done
    state = started_state(run)
    host_state = to_host(run.layout, state)
    return state, empty._replace(state=host_state, best=best_of(host_state))


def validates(run: Run, chunk: Chunk) -> bool:
    """Whether the validation set is evaluated after this chunk."""
    due = (chunk.epoch + 1) % run.config.evaluation.every_epochs == 0
    return chunk.ends_epoch(run.spec) and (due or chunk.step == run.total_steps)


def finished_chunks(
    run: Run,
    chunks: Iterator[Chunk],
    observers: Sequence[Observer] = (),
    *,
    validates: Callable[[Chunk], bool],
    stops: Callable[[], bool] = never,
) -> Iterator[Finished]:
    """Dispatches each chunk, then gives the one before: the devices never wait for the host.

    Args:
      validates: whether the validation set is evaluated after a chunk.
      stops: asked before each chunk; after True, the chunk on the devices is the last.
    """
    keeps = may_end(observers)
    pending: Finished | None = None
    before = state = None
    while not stops() and (chunk := next(chunks, None)) is not None:
        before, state = state if keeps else None, chunk.state
        validated = None
        if validates(chunk):
            terms = validation_terms(run, state)
            views = [observer.views and observer.views(state) for observer in observers]
            validated = Validated(terms, state, views)
        if pending:
            yield fetch(run, pending, before)
        pending = Finished(
            chunk.step, chunk.num_steps, chunk.metrics, state.diverged_step, validated
        )
    if pending:
        yield fetch(run, pending, state)


def fetch(run: Run, chunk: Finished, state: State | None) -> Finished:
    """The chunk on the host, with the state after it on the devices."""
    metrics, diverged, validated = to_host(run.layout, chunk[2:5])
    return Finished(chunk.step, chunk.num_steps, metrics, diverged, validated, state)


def train_lanes_to_end(
    run: Run,
    checkpoints: Checkpoints | None,
    state: State,
    done: Progress,
    began: float,
    observers: Sequence[Observer],
) -> Progress:
    """Trains the lanes from `state`; records, tells the observers and saves as chunks finish."""
    clock = began - float(done.wall_seconds)
    first_step = int(done.state.step[0])
    chunks = train_chunks(
        *on_devices(run), state, first_step=first_step, total_steps=run.total_steps
    )
    stopping = False

    def is_asked_to_stop() -> bool:
        nonlocal stopping
        stopping = any_process(stop.is_set() or wants_stop(observers))
        return stopping

    def settle(chunk: Finished, done: Progress) -> Progress:
        """Records a chunk and tells the observers; saves a checkpoint if it was validated."""
        scores = record(run, chunk, observers)
        if chunk.validated is None or scores is None:
            return done
        state, keep = chunk.validated.state, run.config.training.keep
        best = better(done, state, scores, chunk.step >= annealed_steps(run), keep)
        return save_now(Progress(state, *best, done.wall_seconds))

    def save_now(done: Progress) -> Progress:
        done = done._replace(wall_seconds=np.array(time.monotonic() - clock))
        save(run, checkpoints, done)
        return done

    with stop_on_signal() as stop, contextlib.closing(chunks):
        finished = finished_chunks(
            run, chunks, observers, validates=partial(validates, run), stops=is_asked_to_stop
        )
        # What is beyond the end has no part in the run.
        while not is_over(done, run.total_steps, run.patience) and (chunk := next(finished, None)):
            done = settle(chunk, done)
            if chunk.validated is None and stopping:
                done = save_now(done._replace(state=to_host(run.layout, chunk.state)))
            elif may_end(observers) and any_process(ends(observers)):
                if chunk.validated is None:
                    done = settle(validate_now(run, chunk), done)
                break
        if checkpoints:
            checkpoints.wait()
    step = int(done.state.step[0])
    over = is_over(done, run.total_steps, run.patience)
    # A signal counts in the last chunk too: what follows takes time.
    if any_process(stop.is_set()) or (stopping and not over):
        raise Stopped(f"stopped and saved at step {step:,} of {run.total_steps:,}")
    return done


def record(run: Run, chunk: Finished, observers: Sequence[Observer]) -> np.ndarray | None:
    """Writes the rows of a chunk, and tells the observers; the scores [lanes], if it was validated.

    Raises:
      Exception: an observer says that another process has taken the run over.
    """
    steps, scores = np.full(len(run.lanes), chunk.step), None
    rows = train_rows(run, steps, chunk.metrics) if chunk.num_steps else []
    if chunk.validated:
        means, scores = validation_means(run, chunk.validated.terms)
        rows += validation_rows(run, steps, chunk.diverged_step, means)
    wants_stop(observers)  # for what it raises
    if is_first():
        folder.append_rows(run.workdir, rows)
    for observer in observers:
        observer.rows(chunk.step, rows)
    views = chunk.validated.views if chunk.validated else ()
    for observer, view in zip(observers, views, strict=False):
        observer.validated(chunk.step, view, chunk.diverged_step)
    return scores


def validate_now(run: Run, chunk: Finished) -> Finished:
    """A chunk that is recorded already, with a validation of the state after it."""
    assert chunk.state is not None
    terms, state = to_host(run.layout, (validation_terms(run, chunk.state), chunk.state))
    return chunk._replace(num_steps=0, validated=Validated(terms, state, ()))


def save(run: Run, checkpoints: Checkpoints | None, done: Progress) -> None:
    """Saves a checkpoint and lanes.csv; does nothing except in the first process."""
    if checkpoints:
        beside = folder.beside_checkpoint(run.workdir, run.data.identity, run.config)
        checkpoints.save(int(done.state.step[0]), done, beside)
        folder.write_lanes(run.workdir, lane_rows(run, done))


def lane_rows(run: Run, done: Progress | None, healthy: str = RUNNING) -> list[dict[str, Any]]:
    """The rows of lanes.csv; `done` None: before the first step. `healthy`: as in `status`."""
    return [
        {
            "lane": lane.number,
            "seed": lane.seed,
            **lane.setting,
            "status": status(done, i, healthy) if done else RUNNING,
            "diverged_step": diverged_step(done, i) if done else None,
        }
        for i, lane in enumerate(run.lanes)
    ]


def lay_out(run: Run, *, is_program: bool = False) -> None:
    """Writes what is known of the run before its first step; `is_program`: of a sweep."""
    has_begun = (run.workdir / folder.CHECKPOINTS).exists()
    folder.lay_out(
        run.workdir,
        run.config,
        about={"dataset": run.data.identity} | ({} if has_begun else about_start(run)),
        lanes=lane_rows(run, None),
        is_program=is_program,
    )


def row(run: Run, lane: int, step: int, split: str, terms: dict[str, float]) -> dict[str, Any]:
    """A row of metrics.jsonl; a value that is not finite is written as null."""
    head = {
        "lane": run.lanes[lane].number,
        "seed": run.lanes[lane].seed,
        "step": step,
        "epoch": round(step / run.spec.steps_per_epoch, 6),
        "split": split,
    }
    finite = {name: float(v) if math.isfinite(v) else None for name, v in terms.items()}
    return head | finite | ({"pseudo_likelihood": True} if run.pseudo else {})


def train_rows(run: Run, steps: np.ndarray, metrics: Metrics) -> list[dict[str, Any]]:
    """One row per lane, at its step: means over a chunk, before the step that diverged."""
    rows = []
    for lane, examples in enumerate(metrics.examples.astype(np.float64).sum(axis=1)):
        if examples:
            means = {
                name: total[lane].astype(np.float64).sum() / examples
                for name, total in metrics.totals.items()
            }
            rows.append(row(run, lane, int(steps[lane]), "train", means))
    return rows


def annealed_steps(run: Run) -> np.ndarray:
    """The step [lanes] from which on each lane's objective is as at its end."""
    lanes = range(len(run.lanes))
    return np.array([annealed_step(lane_objective(run, i), run.total_steps) for i in lanes])


def validation_terms(run: Run, state: State | Best) -> Terms:
    """The loss and terms of the validation set, on the devices."""
    terms = evaluate_state(run, state, run.data.validation)
    return {name: term for name, term in terms.items() if name not in OF_THE_CODES}


def validation_means(
    run: Run, terms: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The mean terms of the validation set, and each lane's objective as at its end, [lanes].

    The objective is among the terms if it is not the bound in every lane.
    """
    means = {name: term.astype(np.float64).mean(axis=1) for name, term in terms.items()}
    kl_ku = means.pop(KL_BY_UNIT, None)
    objectives = [lane_objective(run, i) for i in range(len(run.lanes))]
    scores = np.array(
        [
            validation_score(
                objective,
                {name: float(mean[i]) for name, mean in means.items()},
                None if kl_ku is None else kl_ku[i],
                run.total_steps,
            )
            for i, objective in enumerate(objectives)
        ]
    )
    if not all(is_the_bound(objective, run.total_steps) for objective in objectives):
        means["objective"] = scores
    return means, scores


def validation_rows(
    run: Run, steps: np.ndarray, diverged_step: np.ndarray, means: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    """One row per lane that has not diverged: means [lanes] over the validation set."""
    return [
        row(run, lane, int(steps[lane]), "validation", {n: m[lane] for n, m in means.items()})
        for lane, diverged in enumerate(diverged_step)
        if diverged < 0
    ]
