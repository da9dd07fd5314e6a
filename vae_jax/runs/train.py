"""Trains a run: every lane in one program, from its last checkpoint to its end."""

import contextlib
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from vae_jax.data import usual
from vae_jax.data.dataset import classes, described
from vae_jax.devices.lanes import shard_lanes, to_host
from vae_jax.devices.processes import any_process, from_first, is_first
from vae_jax.errors import Stopped
from vae_jax.evaluation.bounds import KL_BY_UNIT, LOG_SCALE_BY_UNIT, MEAN_BY_UNIT, Terms
from vae_jax.objectives import annealed_step, is_the_bound, validation_score
from vae_jax.runs import folder, progress
from vae_jax.runs.checkpoint import (
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
from vae_jax.runs.measure import evaluate_state
from vae_jax.runs.progress import NOBODY, Follower
from vae_jax.runs.run import Run, first_state, lane_objective, make_start, on_devices
from vae_jax.runs.signals import stop_on_signal
from vae_jax.runs.stopped import RUNNING, STOPPED
from vae_jax.runs.trackers import Shown, Trackers
from vae_jax.training.loop import Chunk, train_chunks
from vae_jax.training.step import Metrics, State
from vae_jax.words import count

OF_THE_CODES = (MEAN_BY_UNIT, LOG_SCALE_BY_UNIT)  # which validation does not need
DRAW_SECONDS = 60  # least time between two plots of the training curves


class Pending(NamedTuple):
    """The results of a chunk on the devices, to be fetched while the next chunk runs."""

    step: int  # the step count after the chunk
    num_steps: int
    metrics: Metrics
    diverged_step: Any  # [lanes]
    validation: dict[str, Any] | None  # Terms
    snapshot: State | None
    shown: Shown | None  # for trackers


def train_run(
    run: Run,
    began: float,
    label: str | None = None,
    draw: Callable[[Run], object] = lambda run: None,
    follower: Follower = NOBODY,
    ready: Callable[[], object] = lambda: None,
    *,
    trackers: Trackers,
) -> Progress:
    """Trains the run to its end, or to where the follower ends it.

    The folder is locked and started.

    Args:
      began: time.monotonic() when work on the run began.
      label: the name of a sweep's program, for the bar.
      draw: called after a validation, at most every DRAW_SECONDS.
      follower: hears of the run's progress, in place of the terminal.
      ready: called before the first step; waits for what is compiled in the background.
      trackers: of the run; the caller closes them.

    Raises:
      Stopped: SIGTERM or SIGINT was received; the state is saved.
    """
    with contextlib.ExitStack() as stack:
        checkpoints = None
        if is_first():
            at, keep = run.workdir / folder.CHECKPOINTS, run.values["log.keep_checkpoints"]
            checkpoints = stack.enter_context(Checkpoints(at, keep))
        state, done = first_progress(run, checkpoints)
        first_step = int(done.state.step[0])
        if checkpoints:
            rows = checkpoints.restored.get("rows")
            if rows:
                folder.restore_rows(run.workdir, folder.Rows(*rows))
            else:  # there is no checkpoint yet, or it is of an earlier version
                folder.cut_rows(run.workdir, first_step)
            if not follower.is_anyone:
                introduce(run, first_step, label)
        trackers.begin([first_step] * len(run.lanes))
        ready()
        clock = began - float(done.wall_seconds)
        done = train_lanes_to_end(
            run, checkpoints, state, done, clock, label, draw, follower, trackers
        )
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
        folder.refuse_other_code(run.workdir, checkpoints.restored, run.values)
    if any_process(restored is not None):
        done = from_first(restored or empty)
        return shard_lanes(run.layout, done.state), done
    state = first_state(run)
    host_state = to_host(run.layout, state)
    return state, empty._replace(state=host_state, best=best_of(host_state))


def introduce(run: Run, first_step: int, label: str | None) -> None:
    """Prints what will be trained, and where."""
    if first_step:
        of = f"program {label}: " if label else ""
        print(f"{of}resuming at step {first_step:,} of {run.total_steps:,}", flush=True)
    if label:
        return
    devices = count(run.layout.mesh.devices.size, f"{jax.devices()[0].platform} device")
    print(
        f"{run.data.identity['name']}: {count(len(run.lanes), 'lane')} in 1 program, "
        f"{count(run.values['training.num_epochs'], 'epoch')} of "
        f"{count(run.spec.steps_per_epoch, 'step')}, on {devices}; run folder: {run.workdir}",
        flush=True,
    )
    if usual(run.config.dataset.source) is None:  # the user's own images
        under = f"under {run.values['model.likelihood']}"
        print(f"{described(run.data)}, {under}{classes(run.data)}", flush=True)
        for note in run.data.notes:
            print(note, flush=True)
    if run.pseudo:
        print("grey values in a Bernoulli: every ELBO below is that of a pseudo-likelihood")


def validates(run: Run, chunk: Chunk) -> bool:
    """Whether the validation set is evaluated after this chunk."""
    due = (chunk.epoch + 1) % run.values["evaluation.every_epochs"] == 0
    return chunk.ends_epoch(run.spec) and (due or chunk.step == run.total_steps)


def train_lanes_to_end(
    run: Run,
    checkpoints: Checkpoints | None,
    state: State,
    done: Progress,
    clock: float,
    label: str | None,
    draw: Callable[[Run], object],
    follower: Follower,
    trackers: Trackers,
) -> Progress:
    """Dispatches each chunk, then logs and saves the previous one: the device never waits."""
    first_step = int(done.state.step[0])
    chunks = train_chunks(
        *on_devices(run), state, first_step=first_step, total_steps=run.total_steps
    )
    pending: Pending | None = None
    stopping = ending = False
    drawn = time.monotonic()

    began, last_step, said = time.monotonic(), first_step, ""

    def so_far() -> str:
        line = progress.status(
            last_step, first_step, run.total_steps, time.monotonic() - began, said
        )
        return f"program {label}: {line}" if label else line

    def settle(pending: Pending, done: Progress) -> Progress:
        """Logs a finished chunk and, if it was validated, saves a checkpoint."""
        nonlocal last_step, said
        pending = Pending(*pending[:2], *to_host(run.layout, pending[2:]))
        steps = np.full(len(run.lanes), pending.step)
        rows = train_rows(run, steps, pending.metrics) if pending.num_steps else []
        if pending.validation is not None:
            means, scores = validation_means(run, pending.validation)
            validation = validation_rows(run, steps, pending.diverged_step, means)
            said = progress.describe(bar, validation, "pseudo-" if run.pseudo else "")
            rows += validation
        follower.tell(pending.step, run.total_steps, said)
        follower.wants_stop()  # raises if another process took the run over meanwhile
        if is_first():
            folder.append_rows(run.workdir, rows)
        trackers.rows(rows)
        if pending.shown is not None:
            trackers.show(pending.step, pending.shown, pending.diverged_step)
        follower.rows(rows)
        bar.update(pending.num_steps)
        last_step = pending.step
        if pending.validation is not None and pending.snapshot is not None:
            counts = pending.step >= annealed_steps(run)
            best, best_bound = better(
                done, pending.snapshot, scores, counts, run.values["training.keep"]
            )
            wall_seconds = np.array(time.monotonic() - clock)
            done = Progress(pending.snapshot, best, best_bound, wall_seconds)
            save(run, checkpoints, done)
        return done

    with (
        progress.bar(run.total_steps, first_step, label, hidden=follower.is_anyone) as bar,
        progress.lines(so_far, hidden=follower.is_anyone),
        stop_on_signal() as stop,
    ):
        while True:
            stopping = any_process(stop.is_set() or follower.wants_stop())
            if is_over(done, run.total_steps, run.patience):
                pending = None  # what is beyond the end has no part in the run
                break
            if stopping:
                break
            chunk = next(chunks, None)
            if chunk is None:
                break
            before, state = state if follower.ends else None, chunk.state
            snapshot, validation, shown = None, None, None
            if validates(run, chunk):
                snapshot = state
                validation = validation_terms(run, state)
                shown = trackers.shown(state)
            if pending:
                done = settle(pending, done)
                if follower.ends and any_process(follower.ends()):
                    ending = True  # there: the chunk that runs meanwhile has no part in the run
                    pending = pending if pending.validation is None else None
                    assert before is not None
                    state = before
                    break
                due = pending.validation is not None and time.monotonic() > drawn + DRAW_SECONDS
                if due and is_first():
                    draw(run)
                    drawn = time.monotonic()
            pending = Pending(
                chunk.step,
                chunk.num_steps,
                chunk.metrics,
                state.diverged_step,
                validation,
                snapshot,
                shown,
            )
        if ending and pending:  # the follower ends the run where no validation was due
            pending = pending._replace(
                num_steps=0, validation=validation_terms(run, state), snapshot=state
            )
        if pending:
            done = settle(pending, done)
            if pending.snapshot is None:
                done = done._replace(
                    state=to_host(run.layout, state),
                    wall_seconds=np.array(time.monotonic() - clock),
                )
                save(run, checkpoints, done)
        if checkpoints:
            checkpoints.wait()
    step = int(done.state.step[0])
    over = is_over(done, run.total_steps, run.patience)
    # A signal counts in the last chunk too: what follows takes time.
    if any_process(stop.is_set()) or (stopping and not over):
        raise Stopped(f"stopped and saved at step {step:,} of {run.total_steps:,}")
    return done


def save(run: Run, checkpoints: Checkpoints | None, done: Progress) -> None:
    """Saves a checkpoint and lanes.csv; does nothing except in the first process."""
    if checkpoints:
        beside = folder.beside_checkpoint(run.workdir, run.data.identity, run.values)
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
