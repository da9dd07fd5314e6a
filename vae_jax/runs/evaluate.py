"""The final evaluation of a run: each lane's best on the test set, as results, figures, a table."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.data.binarization import scale
from vae_jax.data.dataset import Dataset, Split
from vae_jax.errors import UserError
from vae_jax.evaluation.bounds import Terms, bound
from vae_jax.evaluation.examples import joined, measure_batches
from vae_jax.lanes import fetch, put
from vae_jax.models import make_model
from vae_jax.models.model import VAE, Params
from vae_jax.objectives.annealing import anneal
from vae_jax.objectives.objective import ObjectiveSpec
from vae_jax.runs import folder
from vae_jax.runs.checkpoint import Best, Checkpoints, Progress, diverged_step, status, template
from vae_jax.runs.config import Values, check, differences
from vae_jax.runs.distributed import is_first
from vae_jax.runs.folder import or_none
from vae_jax.runs.measurements import measurements
from vae_jax.runs.metrics import METRICS
from vae_jax.runs.metrics.metric import Column, standard_error
from vae_jax.runs.pictures import draw_figures
from vae_jax.runs.plan import Run, evaluation_labels, lane_model, make_run, make_start
from vae_jax.runs.programs import runs_in
from vae_jax.training.step import State

ALWAYS = (
    Column("bound", of_likelihood=True),
    Column("elbo", of_likelihood=True),
    Column("reconstruction", of_likelihood=True),
    Column("kl"),
    Column("bits_per_dim", 4, of_likelihood=True),
)
COLUMNS = {
    column.name: column
    for columns in (ALWAYS, *(m.columns for m in METRICS.values() if m), (Column("accuracy", 4),))
    for column in columns
}
WIDTH = 84  # characters of a table's columns, beside the lane's own
TRUSTED = 0.01  # of the images may have a single draw that dominates


class Loaded(NamedTuple):
    """A trained lane, ready to use from Python."""

    model: VAE
    params: Params
    data: Dataset


def load(workdir: str | Path, lane: int = 0) -> Loaded:
    """The model, the best params of one lane, and the dataset of the run in `workdir`.

    Raises:
      UserError: there is no run or no checkpoint, or no such lane.
    """
    workdir = Path(workdir)
    runs = runs_in(workdir)
    lanes = sum(len(run.lanes) for run in runs)
    for run in runs:
        for i, own in enumerate(run.lanes):
            if own.number == lane:
                return Loaded(*lane_model(run, load_progress(run).best.params, i), run.data)
    raise UserError(f"{workdir} has no lane {lane}; it has 0 to {lanes - 1}")


def load_progress(run: Run) -> Progress:
    """The newest whole checkpoint of the run; says so if a newer one is damaged.

    Raises:
      UserError: there is none, or the data are not those it began on.
    """
    folder.refuse_other_data(run.workdir, run.data.identity)
    at = run.workdir / folder.CHECKPOINTS
    done = None
    if at.exists():
        with Checkpoints(at, keep=None) as checkpoints:
            done = checkpoints.restore(template(run.spec, run.hyper, make_start(run)))
    if done is None:
        raise UserError(f"{run.workdir} has no checkpoint yet; train it first")
    return done


def evaluation_spec(run: Run) -> ObjectiveSpec:
    """The objective, with as many draws as an evaluation takes."""
    return run.spec.objective._replace(num_samples=run.values["evaluation.num_samples"])


def evaluate_state(run: Run, state: State | Best, split: Split) -> Terms:
    """The loss and terms [padded lanes, n] of a split at `state`, on the devices.

    Dispatched, not waited for.
    """
    hyper, key = put(run.layout, (run.hyper, run.keys.evaluation))
    batches = measure_batches(
        bound,
        evaluation_spec(run),
        run.spec.model,
        run.layout,
        0,
        state.params,
        key,
        jax.vmap(anneal)(hyper.objective, state.step),
        hyper.model,
        split.images,
        evaluation_labels(run, split),
        batch_size=run.values["evaluation.batch_size"],
    )
    return joined(list(batches), len(split.images))


def evaluation_values(workdir: Path, config: Mapping[str, Any]) -> Values:
    """The checked config to evaluate with: the folder's own, its `evaluation` section free.

    Raises:
      UserError: a mistake in it.
    """
    values = check(config)
    different = differences(folder.read_config(workdir), values)
    if fixed := [line for line in different if not line.startswith("evaluation.")]:
        raise UserError(
            f"evaluate can change evaluation.* only; the run in {workdir} has another "
            f"config ({'; '.join(fixed)})"
        )
    return values


def evaluate(workdir: Path, config: Mapping[str, Any]) -> None:
    """Evaluates the run in `workdir` again; `config` is its own, its `evaluation` section free.

    Raises:
      UserError: a mistake in the config or the folder; nothing was touched.
    """
    run = make_run(evaluation_values(workdir, config), workdir)
    with folder.locked(workdir):
        evaluate_best(run, load_progress(run))


def evaluate_best(run: Run, done: Progress) -> None:
    """Draws the figures, writes results.json, and prints the table of every lane's best."""
    results = measure(run, done)
    if is_first():
        results |= summary(results["lanes"])
        figures = draw_figures(run, done, results["lanes"])
        # Last: it is what says that the run is finished.
        folder.write_json(run.workdir / folder.RESULTS, results)
        print(table(run.workdir, results, figures))


def measure(run: Run, done: Progress) -> dict[str, Any]:
    """The results of every lane's best on the test set."""
    best = put(run.layout, done.best)
    terms = fetch(run.layout, evaluate_state(run, best, run.data.test))
    terms_kn = {name: term.astype(np.float64) for name, term in terms.items()}
    step = int(done.state.step[0])
    finished = step >= run.total_steps or bool((done.state.diverged_step >= 0).all())
    dimensions = math.prod(run.data.image_shape)
    more = measurements(run, done.best)
    lanes = []
    for lane, own in enumerate(run.lanes):
        best_step = int(done.best.step[lane])
        bound_n, elbo_n = terms_kn["bound"][lane], terms_kn["elbo"][lane]
        lanes.append(
            {
                "lane": own.number,
                "seed": own.seed,
                **own.setting,
                "status": status(done, lane, finished=finished),
                "diverged_step": diverged_step(done, lane),
                "best_step": best_step,
                "best_epoch": round(best_step / run.spec.steps_per_epoch, 6),
                "validation_bound": or_none(done.best_bound[lane]),
                "bound": or_none(bound_n.mean()),
                "elbo": or_none(elbo_n.mean()),
                "elbo_se": or_none(standard_error(elbo_n)),  # over the test examples
                "reconstruction": or_none(terms_kn["reconstruction"][lane].mean()),
                "kl": or_none(terms_kn["kl"][lane].mean()),
                "accuracy": accuracy(run, done.best, lane),
                "bits_per_dim": or_none(-bound_n.mean() / (dimensions * math.log(2))),
                **more[lane],
            }
        )
    return {
        "finished": finished,
        "step": step,
        "lanes": lanes,
        "pseudo_likelihood": run.pseudo,
        "evaluation": {k: v for k, v in run.values.items() if k.startswith("evaluation.")},
        "dataset": run.data.identity,
        "wall_seconds": round(float(done.wall_seconds), 3),
    }


def summary(lanes: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard error over lanes, those that diverged left out."""
    healthy = [lane for lane in lanes if lane["status"] != "diverged"]
    columns = {name: np.array([lane.get(name) for lane in healthy], float) for name in COLUMNS}
    return {
        "lanes_in_mean": len(healthy),
        "mean": {n: or_none(c.mean()) if len(c) else None for n, c in columns.items()},
        "se": {n: or_none(standard_error(c)) for n, c in columns.items()},
    }


def accuracy(run: Run, best: Best, lane: int) -> float | None:
    """The fraction of test labels that a lane's classifier gets right; None: it has none."""
    images, labels = run.data.test.images, run.data.test.labels
    if make_model(run.spec.model).classify is None or labels is None:
        return None
    model, params = lane_model(run, best.params, lane)
    logits = model.classify
    assert logits is not None
    classify = jax.jit(lambda x: jnp.argmax(logits(params, scale(x)), axis=-1))
    size = run.values["evaluation.batch_size"]
    found = [classify(images[i : i + size]) for i in range(0, len(images), size)]
    return float(np.mean(np.concatenate(found) == labels))


def shown_metrics(lanes: list[dict[str, Any]]) -> list[str]:
    """The COLUMNS that there are, without the bound where it is the ELBO itself."""
    there = [
        name
        for name in COLUMNS
        if COLUMNS[name] in ALWAYS or any(lane.get(name) is not None for lane in lanes)
    ]
    if all(lane["bound"] == lane["elbo"] for lane in lanes):
        there.remove("bound")
    return there


def column(name: str, pseudo: str) -> str:
    """The head of a metric's column."""
    shown = name.replace("bits_per_dim", "bits/dim")
    return f"{pseudo}{shown}" if COLUMNS[name].of_likelihood else shown


def cells(numbers: dict[str, float | None], names: list[str]) -> list[str]:
    """Those metrics as they are printed."""
    return ["-" if (v := numbers.get(n)) is None else f"{v:.{COLUMNS[n].digits}f}" for n in names]


def blocks(names: list[str], narrowest: int = 8) -> list[list[str]]:
    """The columns in as many tables as fit a screen, one below the other."""
    found: list[list[str]] = [[]]
    for name in names:
        widths = [max(narrowest, len(n)) + 2 for n in (*found[-1], name)]
        if sum(widths) > WIDTH and found[-1]:
            found.append([])
        found[-1].append(name)
    return found


def table(workdir: Path, results: dict[str, Any], figures: list[Path]) -> str:
    """What a person reads at the end: the lanes, their mean, and where each thing is."""
    pseudo = "pseudo-" if results["pseudo_likelihood"] else ""
    identity = results["dataset"]
    lines = [
        *([] if results["finished"] else [f"unfinished: at step {results['step']}"]),
        f"test set of {identity['name']} ({identity['test_size']} images, binarisation: "
        f"{identity['binarization']}), nats per example, each lane's best by validation",
    ]
    for metrics in blocks(shown_metrics(results["lanes"])):
        names = [column(name, pseudo) for name in metrics]
        rows = [["lane", "seed", "status", "best epoch", *names]]
        for lane in results["lanes"]:
            head = (str(lane["lane"]), str(lane["seed"]), lane["status"])
            rows.append([*head, f"{lane['best_epoch']:g}", *cells(lane, metrics)])
        if results["lanes_in_mean"] > 1:
            rows.append(["", "", "", "mean", *cells(results["mean"], metrics)])
            rows.append(["", "", "", "± se", *cells(results["se"], metrics)])
        widths = [4, 10, 8, 10, *(max(8, len(name)) for name in names)]
        lines += ["  ".join(map(str.rjust, row, widths)) for row in rows]
    if results["pseudo_likelihood"]:
        lines.append("grey values in a Bernoulli: a pseudo-likelihood, not to be put in a table")
    for lane in results["lanes"]:
        if lane.get("dominated", 0) > TRUSTED:
            lines.append(
                f"nll: in {lane['dominated']:.0%} of the images of lane {lane['lane']} one draw "
                "has over half of the weight: log p(x) is higher; take more draws, or ais"
            )
    diverged = [lane for lane in results["lanes"] if lane["status"] == "diverged"]
    for lane in diverged:
        lines.append(f"lane {lane['lane']} diverged at step {lane['diverged_step']}, left out")
    lines += [
        "",
        f"results      {workdir / folder.RESULTS}",
        f"metrics      {workdir / folder.METRICS}",
        f"checkpoints  {workdir / folder.CHECKPOINTS}",
        *(f"figure       {path}" for path in figures),
    ]
    return "\n".join(lines)
