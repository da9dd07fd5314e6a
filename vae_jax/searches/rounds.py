"""Trains the trials of a search, an epoch at a time, in the places of one compiled program."""

import time
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from vae_jax.devices.lanes import replicate, shard_lanes, to_host
from vae_jax.errors import Stopped
from vae_jax.runs import folder
from vae_jax.runs.checkpoint import Best, Checkpoints, Progress, best_of, better, template
from vae_jax.runs.progress import in_notebook, lines, without_bar
from vae_jax.runs.run import Lane, Run, first_state, make_examples, make_layout, make_start
from vae_jax.runs.signals import Stop, stop_on_signal
from vae_jax.runs.trackers import Trackers
from vae_jax.runs.train import (
    annealed_steps,
    train_rows,
    validation_means,
    validation_rows,
    validation_terms,
)
from vae_jax.searches.plan import Plan, first_trials
from vae_jax.sweeps.compilation import out_of_memory
from vae_jax.training.loop import train_chunks
from vae_jax.training.search import DIVERGED, DONE, LIVE, PBT, STOPPED, ToTheEnd, Trial, Trials
from vae_jax.training.step import State
from vae_jax.words import count

IDLE = -1  # the number of a place without a trial


class Kept(NamedTuple):
    """What a trial needs to be trained on: host arrays of one lane."""

    state: State
    best: Best
    best_bound: np.ndarray  # NaN of a copy: to be measured by its own objective


class Standing(NamedTuple):
    """All of a search after a round."""

    trials: Trials  # those of the random search last
    kept: dict[int, Kept]  # by number: of trials that may go on, and of the best
    rounds: int = 0
    spent: int = 0  # epochs, of the search alone
    wall_seconds: float = 0.0


def best_trial(trials: Trials) -> Trial | None:
    """The best of the trials that were trained to the end; None if there is none."""
    done = [trial for trial in trials if trial.status == DONE and trial.score is not None]
    return max(done, key=lambda trial: (trial.score, -trial.number), default=None)


def searched(plan: Plan, trials: Trials) -> Trials:
    """The trials of the search itself."""
    return trials[: len(plan.sweep.settings)]


def at_random(plan: Plan, standing: Standing) -> Trials:
    """The trials of a random search of as many epochs: the first settings, to the end.

    Those that the search itself trained so are taken from there.
    """
    own = searched(plan, standing.trials)
    more = standing.trials[len(own) :]
    if isinstance(plan.rule, PBT):
        return more
    size = standing.spent // plan.num_epochs
    return (*(trial for trial in own[:size] if trial.status == DONE), *more)


def with_random(plan: Plan, standing: Standing) -> Standing:
    """The same, with new trials for the part of the random search that is not trained yet."""
    size = standing.spent // plan.num_epochs
    done = {trial.number for trial in at_random(plan, standing)}
    settings = [s for i, s in enumerate(plan.sweep.settings[:size]) if i not in done]
    new = first_trials(settings, len(standing.trials))
    return standing._replace(trials=standing.trials + new)


def train_search(plan: Plan, trackers: Trackers) -> Standing:
    """Trains a search to its end, from its last checkpoint, in a folder that is locked.

    Args:
      trackers: of the search's own trials; the caller closes them.

    Raises:
      Stopped: SIGTERM or SIGINT was received; all rounds but this one are saved.
    """
    at, keep = plan.workdir / folder.CHECKPOINTS, plan.sweep.base["log.keep_checkpoints"]
    with Checkpoints(at, keep) as checkpoints, stop_on_signal() as stop:
        standing = restored(plan, checkpoints)
        per_epoch = trackers.run.spec.steps_per_epoch
        trackers.begin([per_epoch * trial.epochs for trial in searched(plan, standing.trials)])
        clock = time.monotonic() - standing.wall_seconds
        places = min(plan.sweep.base["search.places"], len(plan.sweep.settings))

        def so_far() -> str:
            return f"{count(standing.spent, 'epoch')} of {count(len(standing.trials), 'trial')}"

        bar = tqdm(
            initial=standing.spent,
            unit="epoch",
            disable=without_bar(),
            dynamic_ncols=not in_notebook(),
        )
        with bar, lines(so_far):
            while True:
                own = searched(plan, standing.trials)
                rule: Any = plan.rule
                ready = rule.ready(own, plan.num_epochs)
                if not ready and plan.sweep.base["search.beside_random"]:
                    if len(own) == len(standing.trials):
                        standing = with_random(plan, standing)
                    rule, own = ToTheEnd(), standing.trials[len(own) :]
                    ready = rule.ready(own, plan.num_epochs)
                if not ready:
                    break
                try:
                    standing = take_round(plan, standing, ready[:places], places, stop, trackers)
                except Exception as error:
                    if not out_of_memory(error) or places == 1:
                        raise
                    places = -(-places // 2)
                    print(f"out of memory; going on with {count(places, 'place')}", flush=True)
                    continue
                standing = judged(plan, rule, standing)
                standing = standing._replace(wall_seconds=time.monotonic() - clock)
                save(plan, checkpoints, standing)
                bar.update(min(len(ready), places))
        checkpoints.wait()
    if stop.is_set():
        raise Stopped(f"stopped after {standing.spent} epochs; all is saved")
    return standing


def restored(plan: Plan, checkpoints: Checkpoints) -> Standing:
    """The standing of the newest checkpoint, or that before the first round."""

    def like(beside: dict[str, Any]) -> Progress:
        trials = trials_of(beside["trials"])
        for trial in trials:
            folder.adopt_there(plan.workdir, trial.setting)
        run = plan.run(tuple(trial for trial in trials if trial.number in beside["kept"]))
        return template(run.spec, make_start(run))

    done = checkpoints.restore(like)
    if done is None:
        folder.cut_rows(plan.workdir, -1)
        return Standing(first_trials(plan.sweep.settings), {})
    beside = checkpoints.restored
    folder.refuse_other_identity(plan.workdir, beside, plan.data.identity)
    folder.refuse_other_code(plan.workdir, beside, plan.sweep.base, *plan.sweep.settings)
    folder.restore_rows(plan.workdir, folder.Rows(*beside["rows"]))
    kept = {
        number: Kept(*jax.tree.map(lambda leaf, i=i: leaf[i], tuple(done)[:3]))
        for i, number in enumerate(beside["kept"])
    }
    own = beside["rounds"], beside["spent"], float(done.wall_seconds)
    return Standing(trials_of(beside["trials"]), kept, *own)


def trials_of(rows: list[list[Any]]) -> Trials:
    """The trials of a JSON file."""
    found = []
    for row in rows:
        trial = Trial(*row)
        setting = as_checked(trial.setting)
        scores = tuple((epochs, score) for epochs, score in trial.scores)
        lineage = tuple((epochs, number, as_checked(own)) for epochs, number, own in trial.lineage)
        found.append(trial._replace(setting=setting, scores=scores, lineage=lineage))
    return tuple(found)


def as_checked(setting: dict[str, Any]) -> dict[str, Any]:
    """A setting of a JSON file, which has lists for tuples."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in setting.items()}


def save(plan: Plan, checkpoints: Checkpoints, standing: Standing) -> None:
    kept = sorted(standing.kept)
    stacked = stack([standing.kept[number] for number in kept])
    beside = {
        "trials": standing.trials,
        "kept": kept,
        "rounds": standing.rounds,
        "spent": standing.spent,
    } | folder.beside_checkpoint(
        plan.workdir, plan.data.identity, plan.sweep.base, *plan.sweep.settings
    )
    done = Progress(*stacked, wall_seconds=np.array(standing.wall_seconds))
    checkpoints.save(standing.rounds, done, beside)
    folder.write_lanes(plan.workdir, lane_rows(plan, standing.trials))


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
    lanes += [Lane(IDLE, plan.seed, {}, lanes[0].values)] * idle
    return everyone._replace(
        lanes=tuple(lanes),
        spec=jax.tree.map(lambda leaf: leaf[filled], everyone.spec),
        keys=jax.tree.map(lambda leaf: leaf[filled], everyone.keys),
        layout=make_layout(everyone.values, len(filled)),
    )


def take_round(
    plan: Plan,
    standing: Standing,
    chosen: list[int],
    places: int,
    stop: Stop,
    trackers: Trackers,
) -> Standing:
    """Trains the chosen trials for an epoch."""
    trials, kept = list(standing.trials), dict(standing.kept)
    idle = places - len(chosen)
    filled = np.array([*chosen, *[chosen[-1]] * idle])  # idle places hold the last once more
    run = run_in_places(plan, standing.trials, filled, idle)
    layout, per_epoch = run.layout, run.spec.steps_per_epoch
    if any(number not in kept for number in chosen):
        started = to_host(layout, first_state(run))
        for i, number in enumerate(chosen):
            if number not in kept:
                state = jax.tree.map(lambda leaf, i=i: leaf[i], started)
                kept[number] = Kept(state, best_of(state), np.array(-np.inf))
    before = stack([kept[number] for number in filled])
    epochs = np.array([trials[number].epochs for number in filled], np.int32)
    spec, keys, state = shard_lanes(layout, (run.spec, run.keys, before.state))
    rows: list[dict[str, Any]] = []
    for chunk in train_chunks(
        spec,
        layout,
        keys,
        replicate(layout, make_examples(run)),
        state,
        total_steps=per_epoch,
        ahead=epochs,
        active=np.arange(places) < len(chosen) if layout.one_by_one else None,
    ):
        if stop.is_set():
            raise Stopped(f"stopped after {standing.spent} epochs; all but this round is saved")
        state = chunk.state
        steps = epochs * per_epoch + chunk.step
        rows += train_rows(run, steps, to_host(layout, chunk.metrics))
    terms = to_host(layout, validation_terms(run, state))
    means, objectives = validation_means(run, terms)
    after = to_host(layout, state)
    rows += validation_rows(run, steps, after.diverged_step, means)
    best_bound = before.best_bound
    if np.isnan(best_bound).any():
        best_bound = np.where(np.isnan(best_bound), scores_of(run, before.best), best_bound)
    done = Progress(before.state, before.best, best_bound, np.zeros(()))
    counts = steps >= annealed_steps(run)
    best, best_bound = better(done, after, objectives, counts, run.values["training.keep"])
    rows = [row for row in rows if row["lane"] != IDLE]
    folder.append_rows(plan.workdir, rows)
    trackers.rows([row for row in rows if row["lane"] < len(plan.sweep.settings)])
    now = Kept(after, best, best_bound)
    for i, number in enumerate(chosen):
        kept[number] = jax.tree.map(lambda leaf, i=i: leaf[i], now)
        score, diverged = float(means["bound"][i]), int(after.diverged_step[i])
        trials[number] = trained(
            trials[number],
            score,
            diverged if diverged >= 0 else None,
            int(best.step[i]) // per_epoch,
            plan.num_epochs,
        )
    in_search = sum(number < len(plan.sweep.settings) for number in chosen)
    return standing._replace(
        trials=tuple(trials),
        kept=kept,
        rounds=standing.rounds + 1,
        spent=standing.spent + in_search,
    )


def scores_of(run: Run, best: Best) -> np.ndarray:
    """The score [lanes] of the best params by each lane's own objective, as `best_bound` has it."""
    terms = validation_terms(run, shard_lanes(run.layout, best))
    _, scores = validation_means(run, to_host(run.layout, terms))
    return np.where(best.step >= annealed_steps(run), scores, -np.inf)


def trained(
    trial: Trial, score: float, diverged_step: int | None, best_epoch: int, num_epochs: int
) -> Trial:
    """The trial after one more epoch."""
    epochs = trial.epochs + 1
    if diverged_step is not None:
        return trial._replace(status=DIVERGED, epochs=epochs, diverged_step=diverged_step)
    scores = (*trial.scores, (epochs, score)) if np.isfinite(score) else trial.scores
    status = DONE if epochs == num_epochs else LIVE
    return trial._replace(status=status, epochs=epochs, scores=scores, best_epoch=best_epoch)


def judged(plan: Plan, rule: Any, standing: Standing) -> Standing:
    """The standing after what the rule decides now; keeps what is still needed."""
    own = searched(plan, standing.trials)
    more = standing.trials[len(own) :]
    if isinstance(rule, ToTheEnd):
        trials, copies = standing.trials, {}
    else:
        found, copies = rule.judged(own, plan.num_epochs, plan.varied)
        say(plan, own, found, copies)
        trials = (*found, *more)
    standing = standing._replace(trials=trials)
    kept = standing.kept | {
        # The parent's best was chosen by the parent's objective.
        child: standing.kept[parent]._replace(best_bound=np.array(np.nan))
        for child, parent in copies.items()
    }
    own = searched(plan, trials)
    best = [best_trial(own), best_trial(at_random(plan, standing))]
    needed = {trial.number for trial in best if trial is not None}
    needed |= {trial.number for trial in trials if trial.status == LIVE}
    if plan.sweep.base["search.beside_random"]:  # the random search may take them from here
        needed |= {trial.number for trial in own if trial.status == DONE}
    last = dict(list(kept.items())[-1:])  # a checkpoint holds at least one
    return standing._replace(kept={n: kept[n] for n in kept if n in needed} or last)


def say(plan: Plan, before: Trials, after: Trials, copies: dict[int, int]) -> None:
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
        at = f"epoch {max(trial.epochs for trial in stopped)}"
        tqdm.write(f"{at}: {len(stopped)} stopped, {len(left)} of {len(after)} left{best}")
