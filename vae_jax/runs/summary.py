"""The numbers of a run's lanes on the test set, and their mean over lanes."""

import math
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.data.binarization import scale
from vae_jax.devices.lanes import shard_lanes, to_host
from vae_jax.evaluation.aggregate_posterior import Moments, moment_matched_kl, moments
from vae_jax.evaluation.bounds import BY_UNIT, LOG_SCALE_BY_UNIT, MEAN_BY_UNIT, Terms
from vae_jax.evaluation.metrics import METRICS
from vae_jax.evaluation.metrics.metric import Column, standard_error
from vae_jax.models.model import posterior_means
from vae_jax.objectives import Objective, is_the_bound
from vae_jax.probability.distributions import StandardNormal
from vae_jax.runs.checkpoint import Best, Progress, diverged_step, is_over, status
from vae_jax.runs.folder import or_none, read_rows
from vae_jax.runs.measure import evaluate_state, evaluated_objective, measurements
from vae_jax.runs.run import Run, lane_model, lane_objective
from vae_jax.runs.stopped import RUNNING, STOPPED, is_stopped

FAR = 0.2  # nats a latent unit

ALWAYS = (
    Column("bound", of_likelihood=True),
    Column("elbo", of_likelihood=True),
    Column("reconstruction", of_likelihood=True),
    Column("kl"),
    Column("bits_per_dim", 4, of_likelihood=True),
)


# Those of user-defined metrics, as results.json of a run says them: a reader needs no code of them.
RECORDED: dict[str, Column] = {}


def all_columns() -> dict[str, Column]:
    """The columns of all metrics, user-defined ones included: {name: column}."""
    of_metrics = (metric.columns for metric in METRICS.values())
    everything = (ALWAYS, *of_metrics, (Column("accuracy", 4),))
    return RECORDED | {column.name: column for some in everything for column in some}


def own_columns(measured: Iterable[str]) -> list[dict[str, Any]]:
    """The columns of the user-defined metrics among those measured, for results.json."""
    own = (METRICS[name] for name in measured if ":" in name and name in METRICS)
    return [column._asdict() for metric in own for column in metric.columns]


def learn_columns(results: Mapping[str, Any]) -> None:
    """Adds the columns that results.json says to `all_columns`."""
    RECORDED.update({own["name"]: Column(**own) for own in results.get("own_columns", [])})


def results(run: Run, done: Progress) -> dict[str, Any]:
    """The test-set results of the best of every lane."""
    best = shard_lanes(run.layout, done.best)
    found = evaluate_state(run, best, run.data.test)
    terms = to_host(run.layout, {n: term for n, term in found.items() if n not in BY_UNIT})
    away_k = away_from_prior(run, found)
    terms_kn = {name: term.astype(np.float64) for name, term in terms.items()}
    step = int(done.state.step[0])
    finished = is_over(done, run.total_steps, run.patience)
    healthy = "done" if finished else STOPPED if is_stopped(run.workdir) else RUNNING
    more = measurements(run, done.best)
    validation = {
        (row["lane"], row["step"]): row["bound"]
        for row in read_rows(run.workdir)
        if row["split"] == "validation"
    }
    lanes = []
    for lane, own in enumerate(run.lanes):
        best_step = int(done.best.step[lane])
        bound_n, elbo_n = terms_kn["bound"][lane], terms_kn["elbo"][lane]
        lanes.append(
            {
                "lane": own.number,
                "seed": own.seed,
                **own.setting,
                "status": status(done, lane, healthy),
                "diverged_step": diverged_step(done, lane),
                "best_step": best_step,
                "best_epoch": round(best_step / run.spec.steps_per_epoch, 6),
                "epochs": round(step / run.spec.steps_per_epoch, 6),
                "warming_up": is_warming_up(lane_objective(run, lane), step),
                "validation_bound": validation.get((own.number, best_step)),
                "validation_objective": or_none(done.best_bound[lane]),
                "bound": or_none(bound_n.mean()),
                "elbo": or_none(elbo_n.mean()),
                "elbo_se": or_none(standard_error(elbo_n)),  # over the test examples
                "reconstruction": or_none(terms_kn["reconstruction"][lane].mean()),
                "kl": or_none(terms_kn["kl"][lane].mean()),
                "bound_of": bound_of(run.spec.model.likelihood.support, pseudo=run.pseudo),
                "bound_name": bound_named(run),
                "accuracy": accuracy(run, done.best, lane),
                "bits_per_dim": bits_per_dim(run, bound_n),
                "uniform_bits": uniform_bits(run),
                "aggregate_posterior_kl": away_k[lane],
                "far_from_prior": is_far(away_k[lane], own.values["model.latent_size"]),
                **more.lanes[lane],
            }
        )
    return {
        "finished": finished,
        "step": step,
        "lanes": lanes,
        "pseudo_likelihood": run.pseudo,
        "kept": run.values["training.keep"],
        "bound": bound_named(run),
        "objective_is_bound": all(
            is_the_bound(lane_objective(run, lane), run.total_steps)
            for lane in range(len(run.lanes))
        ),
        "corruption": run.values["objective.corruption"],
        "measured": more.settings,
        "own_columns": own_columns(more.settings),
        "not_measured": more.failed,
        "evaluation": {k: v for k, v in run.values.items() if k.startswith("evaluation.")},
        "dataset": run.data.identity,
        "wall_seconds": round(float(done.wall_seconds), 3),
    }


def away_from_prior(run: Run, terms: Terms) -> list[float | None]:
    """At least KL(q(z) || p(z)) of each lane, nats; None for other priors than the standard normal.

    q(z): the aggregate posterior of the test set.
    """
    if MEAN_BY_UNIT not in terms or run.spec.model.abilities.prior_type is not StandardNormal:
        return [None] * len(run.lanes)
    found = jax.jit(jax.vmap(moments))(terms[MEAN_BY_UNIT], terms[LOG_SCALE_BY_UNIT])
    of = to_host(run.layout, found)
    sizes = [lane.values["model.latent_size"] for lane in run.lanes]
    n = len(run.data.test.images)
    return [
        or_none(moment_matched_kl(without_padding(jax.tree.map(itemgetter(k), of), size), n))
        for k, size in enumerate(sizes)
    ]


def without_padding(of: Moments, size: int) -> Moments:
    """The moments of a lane's own latent units."""
    return Moments(of.mean_l[:size], of.of_means_ll[:size, :size], of.noise_l[:size])


def is_far(kl: float | None, latent_size: int) -> bool:
    """Whether samples from the prior are far from the latents that the decoder was trained on."""
    return kl is not None and kl > max(1.0, FAR * latent_size)


PSEUDO = "pseudo-likelihood"


def bound_of(support: str, *, pseudo: bool = False) -> str:
    """What a bound is of: "density", "probability" or PSEUDO; they can't be compared.

    `support`: of the likelihood.
    """
    if pseudo:
        return PSEUDO
    return "density" if support in ("real", "unit") else "probability"


def bound_named(run: Run) -> str:
    """Such as "iwae(k=50)"; "" if the bound is the ELBO."""
    name = run.values["objective.name"]
    return "" if name == "elbo" else f"{name}(k={evaluated_objective(run).num_samples})"


def bits_per_dim(run: Run, bound_n: np.ndarray) -> float | None:
    """-bound in bits per dimension, of a probability of the levels 0 to 255; None for real numbers.

    The density of x = n / 255 becomes one of n: log2 255 bits a dimension more.
    """
    bits = -bound_n.mean() / (math.prod(run.data.image_shape) * math.log(2))
    if run.spec.model.likelihood.support not in ("real", "unit"):
        return or_none(bits)
    levels = run.data.test.images.dtype == np.uint8 and not run.data.binary
    return or_none(bits + math.log2(255)) if levels else None


def uniform_bits(run: Run) -> float | None:
    """The bits per dimension of a uniform guess; None of real numbers."""
    if run.data.binary:
        return 1.0
    return 8.0 if run.data.test.images.dtype == np.uint8 else None


def is_warming_up(objective: Objective, step: int) -> bool:
    """Whether beta is still below its end value at this step, within the warm-up's last cycle."""
    cycle = float(objective.warmup_cycle)
    in_cycle = step % cycle if math.isfinite(cycle) and step % cycle else min(step, cycle)
    return bool(0 < in_cycle < float(objective.warmup_steps))


def summary(lanes: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard error over the lanes that have not diverged."""
    healthy = [lane for lane in lanes if lane["status"] != "diverged"]
    values = {name: np.array([lane.get(name) for lane in healthy], float) for name in all_columns()}
    return {
        "lanes_in_mean": len(healthy),
        "mean": {n: or_none(c.mean()) if len(c) else None for n, c in values.items()},
        "se": {n: or_none(standard_error(c)) for n, c in values.items()},
    }


def accuracy(run: Run, best: Best, lane: int) -> float | None:
    """The test accuracy of a lane's classifier; None if it has no classifier."""
    images, labels = run.data.test.images, run.data.test.labels
    if not run.spec.model.abilities.infers_labels or labels is None:
        return None
    model, variables = lane_model(run, best.variables, lane)

    @jax.jit
    def classify(x):
        logits = model.trace(variables, posterior_means, scale(x)).y
        assert logits is not None
        return jnp.argmax(logits, axis=-1)

    size = run.values["evaluation.batch_size"]
    found = [classify(images[i : i + size]) for i in range(0, len(images), size)]
    return float(np.mean(np.concatenate(found) == labels))
