"""Trains the trials of a search, an epoch at a time, in the places of one compiled program."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from vae_jax.config.build import facts_of
from vae_jax.devices.lanes import replicate, shard_lanes, to_host
from vae_jax.errors import Stopped
from vae_jax.folders import folder
from vae_jax.folders.checkpoint import Best, Checkpoints, Progress, best_of, better, template
from vae_jax.runs.compilation import out_of_memory
from vae_jax.runs.observer import MetricRows, Observer
from vae_jax.runs.progress import in_notebook, lines, without_bar
from vae_jax.runs.run import Lane, Run, make_examples, make_layout, make_start
from vae_jax.runs.signals import Stop, stop_on_signal
from vae_jax.runs.start import started_state
from vae_jax.runs.train import (
    annealed_steps,
    finished_chunks,
    train_rows,
    validation_means,
    validation_rows,
    validation_terms,
)
from vae_jax.searches.plan import Plan, first_trials
from vae_jax.training.loop import train_chunks
from vae_jax.training.search import DIVERGED, DONE, LIVE, STOPPED, Trial, Trials
from vae_jax.training.step import State
from vae_jax.words import count, page

IDLE = -1  # the number of a place without a trial


class Kept(NamedTuple):
    """What a trial needs to be trained on: host arrays of one lane."""

    state: State
    best: Best
    best_bound: np.ndarray  # NaN of a copy: to be measured by its own objective


class SearchState(NamedTuple):
    """All of a search after a round."""

    trials: Trials
    kept: dict[int, Kept]  # by number: of trials that may go on, and of the best
    rounds: int = 0
    spent: int = 0  # epochs
    wall_seconds: float = 0.0


def best_trial(trials: Trials) -> Trial | None:
    """The best of the trials that were trained to the end; None if there is none."""
    done = [trial for trial in trials if trial.status == DONE and trial.score is not None]
    return max(done, key=lambda trial: (trial.score, -trial.number), default=None)


def train_search(plan: Plan, observers: Sequence[Observer] = ()) -> SearchState:
    """Trains a search to its end, from its last checkpoint, in a folder that is locked.

    Args:
      observers: what follows the search; its step is the number of epochs spent.

    Raises:
      Stopped: SIGTERM or SIGINT was received; all rounds but this one are saved.
    """
    path, keep = plan.workdir / folder.CHECKPOINTS, plan.sweep.base.log.keep_checkpoints
    with Checkpoints(path, keep) as checkpoints, stop_on_signal() as stop:
        search = restore_search(plan, checkpoints)
        per_epoch = facts_of(plan.sweep.base, plan.data).steps_per_epoch
        for observer in observers:
            observer.begins([per_epoch * trial.epochs for trial in search.trials])
        clock = time.monotonic() - search.wall_seconds
        num_places = min(plan.sweep.base.search.places, len(plan.sweep.settings))

        def so_far() -> str:
            return f"{count(search.spent, 'epoch')} of {count(len(search.trials), 'trial')}"

        bar = tqdm(
            initial=search.spent,
            unit="epoch",
            disable=without_bar(),
            dynamic_ncols=not in_notebook(),
        )
        with bar, lines(so_far):
            while True:
                ready = plan.rule.ready(search.trials, plan.num_epochs)
                if not ready:
                    break
                try:
                    search, rows = take_round(plan, search, ready[:num_places], num_places, stop)
                except Exception as error:
                    if not out_of_memory(error) or num_places == 1:
                        raise
                    num_places = -(-num_places // 2)
                    print(
                        f"out of memory; going on with {count(num_places, 'place')}: "
                        f"{page('troubles#out-of-memory')}",
                        flush=True,
                    )
                    continue
                for observer in observers:
                    observer.rows(search.spent, rows)
                search = judge(plan, search)
                search = search._replace(wall_seconds=time.monotonic() - clock)
                save(plan, checkpoints, search)
                bar.update(min(len(ready), num_places))
        checkpoints.wait()
    if stop.is_set():
        raise Stopped(f"stopped after {search.spent} epochs; all is saved")
    return search


def restore_search(plan: Plan, checkpoints: Checkpoints) -> SearchState:
    """The search of the newest checkpoint, or that before the first round."""

    def like(beside: dict[str, Any]) -> Progress:
        trials = trials_of(beside["trials"])
        run = plan.run(tuple(trial for trial in trials if trial.number in beside["kept"]))
        return template(run.spec, make_start(run))

    done = checkpoints.restore(like)
    if done is None:
        folder.cut_rows(plan.workdir, -1)
        return SearchState(first_trials(plan.sweep.settings), {})
    beside = checkpoints.restored
    folder.refuse_other_identity(plan.workdir, beside, plan.data.identity)
    folder.refuse_other_code(plan.workdir, beside, plan.sweep.base, *plan.sweep.configs)
    folder.restore_rows(plan.workdir, folder.Rows(*beside["rows"]))
    kept = {
        number: Kept(*jax.tree.map(lambda leaf, i=i: leaf[i], tuple(done)[:3]))
        for i, number in enumerate(beside["kept"])
    }
    counts = beside["rounds"], beside["spent"], float(done.wall_seconds)
    return SearchState(trials_of(beside["trials"]), kept, *counts)


def trials_of(rows: list[list[Any]]) -> Trials:
    """The trials of a JSON file."""
    trials = []
    for row in rows:
        trial = Trial(*row)
        setting = as_checked(trial.setting)
        scores = tuple((epochs, score) for epochs, score in trial.scores)
        lineage = tuple(
            (epochs, number, as_checked(earlier)) for epochs, number, earlier in trial.lineage
        )
        trials.append(trial._replace(setting=setting, scores=scores, lineage=lineage))
    return tuple(trials)


def as_checked(setting: dict[str, Any]) -> dict[str, Any]:
    """A setting of a JSON file, which has lists for tuples."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in setting.items()}


def save(plan: Plan, checkpoints: Checkpoints, search: SearchState) -> None:
    kept = sorted(search.kept)
    stacked = stack([search.kept[number] for number in kept])
    beside = {
        "trials": search.trials,
        "kept": kept,
        "rounds": search.rounds,
        "spent": search.spent,
    } | folder.beside_checkpoint(
        plan.workdir, plan.data.identity, plan.sweep.base, *plan.sweep.configs
    )
    done = Progress(*stacked, wall_seconds=np.array(search.wall_seconds))
    checkpoints.save(search.rounds, done, beside)
    folder.write_lanes(plan.workdir, lane_rows(plan, search.trials))


def stack(lanes: list[Kept]) -> Kept:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *lanes)


def lane_rows(plan: Plan, trials: Trials) -> list[dict[str, Any]]:
    """The rows of lanes.csv."""
    return [
        {
            "lane": trial.number,
            "seed": plan.seed,
            **plan.lane(trial).setting,
            "status": "waiting" if trial.status == LIVE and not trial.epochs else trial.status,
            "diverged_step": trial.diverged_step,
            "epochs": trial.epochs,
            "best_epoch": trial.best_epoch,
            "validation_bound": trial.score,
        }
        for trial in trials
    ]


def run_in_places(plan: Plan, trials: Trials, filled: np.ndarray, idle: int) -> Run:
    """The run of the trials that fill the places; the last `idle` places hold no trial."""
    everyone = plan.run(trials)  # for one structure, whichever trials are chosen
    lanes = [everyone.lanes[number] for number in filled[: len(filled) - idle]]
    lanes += [Lane(IDLE, plan.seed, {}, lanes[0].config)] * idle
    return everyone._replace(
        lanes=tuple(lanes),
        spec=jax.tree.map(lambda leaf: leaf[filled], everyone.spec),
        keys=jax.tree.map(lambda leaf: leaf[filled], everyone.keys),
        layout=make_layout(everyone.config, len(filled)),
    )


def take_round(
    plan: Plan,
    search: SearchState,
    chosen: list[int],
    num_places: int,
    stop: Stop,
) -> tuple[SearchState, MetricRows]:
    """Trains the chosen trials for an epoch; gives their rows of metrics.jsonl too."""
    trials = list(search.trials)
    idle = num_places - len(chosen)
    filled = np.array([*chosen, *[chosen[-1]] * idle])  # idle places hold the last once more
    run = run_in_places(plan, search.trials, filled, idle)
    layout, per_epoch = run.layout, run.spec.steps_per_epoch
    kept = with_first_states(run, chosen, search.kept)
    before = stack([kept[number] for number in filled])
    epochs = np.array([trials[number].epochs for number in filled], np.int32)
    spec, keys, state = shard_lanes(layout, (run.spec, run.keys, before.state))
    rows: MetricRows = []
    chunks = train_chunks(
        spec,
        layout,
        keys,
        replicate(layout, make_examples(run)),
        state,
        total_steps=per_epoch,
        ahead=epochs,
        active=np.arange(num_places) < len(chosen) if layout.one_by_one else None,
    )
    for chunk in finished_chunks(run, chunks, validates=lambda chunk: chunk.step == per_epoch):
        if stop.is_set():
            raise Stopped(f"stopped after {search.spent} epochs; all but this round is saved")
        steps = epochs * per_epoch + chunk.step
        rows += train_rows(run, steps, chunk.metrics)
    assert chunk.validated is not None
    terms, state, _ = chunk.validated
    means, objectives = validation_means(run, terms)
    rows += validation_rows(run, steps, chunk.diverged_step, means)
    rows = [row for row in rows if row["lane"] != IDLE]
    folder.append_rows(plan.workdir, rows)
    after = with_better(run, before, state, objectives, steps)
    for i, number in enumerate(chosen):
        kept[number] = jax.tree.map(lambda leaf, i=i: leaf[i], after)
        score, diverged = float(means["bound"][i]), int(state.diverged_step[i])
        trials[number] = after_epoch(
            trials[number],
            score,
            diverged if diverged >= 0 else None,
            int(after.best.step[i]) // per_epoch,
            plan.num_epochs,
        )
    search = search._replace(
        trials=tuple(trials),
        kept=kept,
        rounds=search.rounds + 1,
        spent=search.spent + len(chosen),
    )
    return search, rows


def with_first_states(run: Run, chosen: list[int], kept: dict[int, Kept]) -> dict[int, Kept]:
    """What is kept of the trials, and the first state of those chosen that have none yet."""
    kept = dict(kept)
    if any(number not in kept for number in chosen):
        states = to_host(run.layout, started_state(run))
        for i, number in enumerate(chosen):
            if number not in kept:
                state = jax.tree.map(lambda leaf, i=i: leaf[i], states)
                kept[number] = Kept(state, best_of(state), np.array(-np.inf))
    return kept


def with_better(
    run: Run, before: Kept, state: State, objectives: np.ndarray, steps: np.ndarray
) -> Kept:
    """The lanes after an epoch: `state`, and the better of it and of the best before.

    Args:
      objectives: of the state [lanes], on the validation set.
      steps: that each trial has taken [lanes].
    """
    best_bound = before.best_bound
    if np.isnan(best_bound).any():
        best_bound = np.where(np.isnan(best_bound), scores_of(run, before.best), best_bound)
    done = Progress(before.state, before.best, best_bound, np.zeros(()))
    counts = steps >= annealed_steps(run)
    return Kept(state, *better(done, state, objectives, counts, run.config.training.keep))


def scores_of(run: Run, best: Best) -> np.ndarray:
    """The score [lanes] of the best params by each lane's own objective, as `best_bound` has it."""
    terms = validation_terms(run, shard_lanes(run.layout, best))
    _, scores = validation_means(run, to_host(run.layout, terms))
    return np.where(best.step >= annealed_steps(run), scores, -np.inf)


def after_epoch(
    trial: Trial, score: float, diverged_step: int | None, best_epoch: int, num_epochs: int
) -> Trial:
    """The trial after one more epoch."""
    epochs = trial.epochs + 1
    if diverged_step is not None:
        return trial._replace(status=DIVERGED, epochs=epochs, diverged_step=diverged_step)
    scores = (*trial.scores, (epochs, score)) if np.isfinite(score) else trial.scores
    status = DONE if epochs == num_epochs else LIVE
    return trial._replace(status=status, epochs=epochs, scores=scores, best_epoch=best_epoch)


def judge(plan: Plan, search: SearchState) -> SearchState:
    """The search after what the rule decides now; keeps what is still needed."""
    trials, copies = plan.rule.judged(search.trials, plan.num_epochs, plan.varied)
    print_decision(plan, search.trials, trials, copies)
    kept = search.kept | {
        # The parent's best was chosen by the parent's objective.
        child: search.kept[parent]._replace(best_bound=np.array(np.nan))
        for child, parent in copies.items()
    }
    best = best_trial(trials)
    needed = {trial.number for trial in trials if trial.status == LIVE or trial is best}
    last = dict(list(kept.items())[-1:])  # a checkpoint holds at least one
    kept = {number: state for number, state in kept.items() if number in needed} or last
    return search._replace(trials=trials, kept=kept)


def print_decision(plan: Plan, before: Trials, after: Trials, copies: dict[int, int]) -> None:
    """Prints what was decided, if anything was."""
    stopped = [
        new
        for old, new in zip(before, after, strict=True)
        if (old.status, new.status) == (LIVE, STOPPED)
    ]
    if not stopped and not copies:
        return
    left = [trial for trial in after if trial.status in (LIVE, DONE)]
    scores = [trial.scores[-1][1] for trial in left if trial.scores]
    best = f"; the best so far: {max(scores):.2f}" if scores else ""
    if copies:
        epochs = after[next(iter(copies))].epochs
        tqdm.write(f"epoch {epochs}: {count(len(copies), 'trial')} replaced by copies{best}")
    else:
        epoch = max(trial.epochs for trial in stopped)
        tqdm.write(f"epoch {epoch}: {len(stopped)} stopped, {len(left)} of {len(after)} left{best}")
