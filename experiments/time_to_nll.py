"""How many seconds does it take to reach a given test nll?

    python -m experiments.time_to_nll --config=configs/mnist_fast.py --workdir=runs/time_to_nll

trains the config's seeds as one program, without the compilation cache, and keeps every epoch's
params with the seconds since the process began; imports, data and compilation count. Afterwards,
not timed, it finds the first epoch below each of LEVELS by bisection, as the nll falls with the
epochs, except for noise. The nll is -log p(x) of the test set with
`evaluation.num_importance_samples` samples. Prints a table and writes it to `time_to_nll.json` in
the workdir.

`--images=1000` measures 1,000 evenly spaced images of the test set instead of all.
What was found is in the header of `configs/mnist_fast.py`.
"""

import time

BEGAN = time.monotonic()  # before what takes long to import
# ruff: noqa: E402
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from absl import flags

from vae_jax import files
from vae_jax.cli import main as cli
from vae_jax.config.build import Config
from vae_jax.config.check import check
from vae_jax.config.schema import nest
from vae_jax.data.dataset import Split
from vae_jax.devices.lanes import to_host
from vae_jax.devices.setup import use_cores
from vae_jax.errors import UserError
from vae_jax.evaluation.metrics.likelihood import Nll
from vae_jax.evaluation.metrics.metric import standard_error
from vae_jax.folders import folder
from vae_jax.folders.checkpoint import Best
from vae_jax.folders.environment import environment
from vae_jax.folders.kinds import refuse_sweep
from vae_jax.runs.measure import measure_split, subject_of
from vae_jax.runs.run import Run, first_state, make_run, on_devices
from vae_jax.training.loop import train_chunks
from vae_jax.words import aligned

LEVELS = (100.0, 95.0, 92.0, 90.0, 88.0)  # nats


class Epoch(NamedTuple):
    """Where the lanes were after so many epochs, on the host."""

    seconds: float  # since the process began
    variables: Any


def define(values: flags.FlagValues) -> None:
    """Defines the flags of this command."""
    flags.DEFINE_integer("images", None, "of the test set", lower_bound=2, flag_values=values)


def train(run: Run) -> list[Epoch]:
    """Trains the run; all its epochs."""
    epochs = []
    for chunk in train_chunks(*on_devices(run), first_state(run), total_steps=run.total_steps):
        if chunk.ends_epoch(run.spec):
            variables = to_host(run.layout, chunk.state.variables)
            epochs.append(Epoch(time.monotonic() - BEGAN, variables))
    return epochs


def first_below(level: float, count: int, nll_of: Callable[[int], float]) -> int | None:
    """The first of `count` epochs whose nll is below the level, by bisection; None: none is."""
    if nll_of(count - 1) >= level:
        return None
    low, high = 0, count - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if nll_of(middle) < level else (middle + 1, high)
    return low


def measure(run: Run, epochs: list[Epoch], images: int | None) -> dict[str, Any]:
    """Each lane's seconds and epochs to each level, and the nll of the epochs looked at."""
    test = run.data.test
    if images is not None:
        rows = np.arange(images) * len(test.images) // images
        test = Split(test.images[rows], None if test.labels is None else test.labels[rows])
    lanes = range(len(run.lanes))
    values = run.config.values
    nll = Nll(values["evaluation.num_importance_samples"], values["evaluation.draws_at_once"])
    nll_of_epoch: dict[int, np.ndarray] = {}

    def nll_of_lanes(epoch: int) -> np.ndarray:
        if epoch not in nll_of_epoch:
            best = Best(jnp.zeros(len(lanes), jnp.int32), epochs[epoch].variables)
            metric = nll.metric(subject_of(run))._replace(inputs=test)
            arrays = measure_split(run, best, "nll", nll, metric, run.spec.model)
            nll_k = -arrays["log_likelihood"].mean(axis=1, dtype=np.float64)
            print(f"epoch {epoch + 1}: nll {nll_k.round(2).tolist()}", flush=True)
            nll_of_epoch[epoch] = nll_k
        return nll_of_epoch[epoch]

    def nll_of(lane: int, epoch: int) -> float:
        return float(nll_of_lanes(epoch)[lane])

    levels = []
    for level in LEVELS:
        first = [first_below(level, len(epochs), partial(nll_of, lane)) for lane in lanes]
        levels.append(
            {
                "nll": level,
                "epochs": [None if epoch is None else epoch + 1 for epoch in first],
                "seconds": [None if epoch is None else epochs[epoch].seconds for epoch in first],
            }
        )
    return {
        "levels": levels,
        "nll": {str(epoch + 1): nll_k.tolist() for epoch, nll_k in sorted(nll_of_epoch.items())},
        "seconds": [epoch.seconds for epoch in epochs],
        "seeds": [lane.seed for lane in run.lanes],
        "images": len(test.images),
        "draws": run.config.values["evaluation.num_importance_samples"],
    }


def table(results: dict[str, Any]) -> str:
    """A row for each level: its seconds, mean and standard error over the lanes that reached it."""
    lanes, total = len(results["seeds"]), results["seconds"][-1]
    head = (
        f"{lanes} lanes in one program, {len(results['seconds'])} epochs in {total:.1f} s; nll of "
        f"{results['images']:,} test images by {results['draws']:,} samples"
    )
    rows = [["nll below", "seconds", "epochs", "lanes"]]
    for level in results["levels"]:
        seconds = [s for s in level["seconds"] if s is not None]
        epochs = [e for e in level["epochs"] if e is not None]
        if seconds:
            error = f" ± {standard_error(np.array(seconds)):.1f}" if len(seconds) > 1 else ""
            cells = f"{np.mean(seconds):.1f}{error}", f"{np.mean(epochs):.1f}"
        else:
            cells = "not reached", "-"
        rows.append([f"{level['nll']:g}", *cells, str(len(seconds))])
    return "\n".join([head, *aligned(rows)])


def time_to_nll(config: Config, workdir: Path, images: int | None) -> None:
    """Trains, measures, prints and leaves the table.

    Raises:
      UserError: the folder holds something else; nothing was touched.
    """
    refuse_sweep(workdir)
    if (workdir / folder.CONFIG).exists():
        raise UserError(f"{workdir} holds a run already; take another --workdir")
    run = make_run(config, workdir)
    if images is not None and images > len(run.data.test.images):
        raise UserError(
            f"--images={images} should be at most the {len(run.data.test.images)} test images"
        )
    with folder.locked(workdir):
        results = measure(run, train(run), images)
        files.write_json(workdir / folder.ENVIRONMENT, environment())
        files.write_json(workdir / folder.CONFIG, nest(config.values))
        files.write_json(workdir / "time_to_nll.json", results)
    print(table(results))


def run(arguments: Sequence[str]) -> None:
    command = cli.parse(arguments, define=define)
    use_cores()
    time_to_nll(check(command.config), command.workdir, command.flags.images)


if __name__ == "__main__":
    sys.exit(cli.answer(lambda: run(sys.argv[1:])))
