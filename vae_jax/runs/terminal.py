"""What the terminal shows of a run while it trains: what it is, and a bar, or lines in a log."""

import contextlib
import time
from collections.abc import Iterator, Sequence

import jax

from vae_jax.data.dataset import classes, described
from vae_jax.devices.processes import is_first
from vae_jax.runs import progress
from vae_jax.runs.observer import MetricRows, Observer
from vae_jax.runs.run import Run
from vae_jax.words import count

MANY = 0.5  # of the updates between two rows: most are skipped


def introduction(run: Run, label: str | None = None) -> Observer:
    """Prints what will be trained, and where, and once if most updates are skipped.

    label: the name of a sweep's program.
    """
    warned = False

    def rows(step: int, rows: MetricRows) -> None:
        nonlocal warned
        lanes = [row["lane"] for row in rows if row.get("skipped", 0) > MANY]
        if lanes and not warned and is_first():
            warned = True
            print(
                f"step {step:,}: more than half of the updates of lane {lanes[0]} were skipped, "
                "as their gradients have a norm above optimizer.skip_above = "
                f"{run.config.optimizer.skip_above:g}; make it larger",
                flush=True,
            )

    def begins(first_steps: Sequence[int]) -> None:
        if is_first():
            introduce(run, first_steps[0], label)

    return Observer(begins=begins, rows=rows)


def introduce(run: Run, first_step: int, label: str | None) -> None:
    if first_step:
        of = f"program {label}: " if label else ""
        print(f"{of}resuming at step {first_step:,} of {run.total_steps:,}", flush=True)
    if label:
        return
    devices = count(run.layout.mesh.devices.size, f"{jax.devices()[0].platform} device")
    print(
        f"{run.data.identity['name']}: {count(len(run.lanes), 'lane')} in 1 program, "
        f"{count(run.config.training.num_epochs, 'epoch')} of "
        f"{count(run.spec.steps_per_epoch, 'step')}, on {devices}; run folder: {run.workdir}",
        flush=True,
    )
    if run.config.dataset.source.usual is None:  # the user's own images
        under = f"under {run.config.values['model.likelihood']}"
        print(f"{described(run.data)}, {under}{classes(run.data)}", flush=True)
        for note in run.data.notes:
            print(note, flush=True)
    if changes := run.config.values["dataset.augmentation"]:
        print(f"training images are changed at random in every minibatch: {', '.join(changes)}")
    if run.pseudo:
        print("grey values in a Bernoulli: every ELBO below is that of a pseudo-likelihood")


@contextlib.contextmanager
def progress_bar(run: Run, label: str | None = None) -> Iterator[Observer]:
    """A bar of training steps on a terminal, lines in a log; they end with this context."""
    with contextlib.ExitStack() as stack:
        began, first_step, last_step, said = 0.0, 0, 0, ""
        bar: progress.tqdm | None = None

        def so_far() -> str:
            seconds = time.monotonic() - began
            line = progress.status(last_step, first_step, run.total_steps, seconds, said)
            return f"program {label}: {line}" if label else line

        def begins(first_steps: Sequence[int]) -> None:
            nonlocal began, bar, first_step, last_step
            began, first_step = time.monotonic(), first_steps[0]
            last_step = first_step
            bar = stack.enter_context(progress.bar(run.total_steps, first_step, label))
            stack.enter_context(progress.lines(so_far))

        def rows(step: int, rows: MetricRows) -> None:
            nonlocal last_step, said
            newest = progress.describe(rows, pseudo=run.pseudo)
            assert bar is not None
            if newest:
                said = newest
                bar.set_postfix_str(said)
            bar.update(step - last_step)
            last_step = step

        yield Observer(begins=begins, rows=rows)
