"""The numbers of a run's lanes on the test set, and their mean over lanes."""

import math
from collections.abc import Iterable, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vae_jax.data.binarization import scale
from vae_jax.devices.lanes import shard_lanes, to_host
from vae_jax.evaluation.aggregate_posterior import Moments, moment_matched_kl, moments
from vae_jax.evaluation.bounds import BY_UNIT, LOG_SCALE_BY_UNIT, MEAN_BY_UNIT, Terms
from vae_jax.evaluation.metrics import METRICS
from vae_jax.evaluation.metrics.metric import ACTIVE_OF_LAYER, Column, standard_error
from vae_jax.files import or_none
from vae_jax.folders.checkpoint import Best, Progress, diverged_step, is_over, status
from vae_jax.folders.folder import read_rows
from vae_jax.folders.lanes import RUNNING, STOPPED, is_stopped
from vae_jax.models.model import posterior_means
from vae_jax.objectives import Objective, is_the_bound
from vae_jax.objectives.objective import KL_OF_LAYER, TERMS
from vae_jax.probability.distributions import StandardNormal
from vae_jax.runs.measure import evaluate_state, evaluated_objective, known_metrics, measure_metrics
from vae_jax.runs.run import Run, lane_model, lane_objective

FAR = 0.2  # nats a latent unit

ALWAYS = (
    Column("bound", of_likelihood=True),
    Column("elbo", of_likelihood=True),
    Column("reconstruction", of_likelihood=True),
    Column("kl"),
    Column("bits_per_dim", 4, of_likelihood=True),
)


# The columns of user-defined metrics, as results.json says them: a reader needs no code of theirs.
RECORDED: dict[str, Column] = {}


def all_columns() -> dict[str, Column]:
    """The columns of all metrics, those that `learn_columns` was told included: {name: column}."""
    of_metrics = (metric().columns for metric in METRICS.values())
    everything = (ALWAYS, *of_metrics, (Column("accuracy", 4),))
    known = {column.name: column for some in everything for column in some}
    return known | {name: column for name, column in RECORDED.items() if name not in known}


def own_columns(run: Run, measured: Iterable[str]) -> list[dict[str, Any]]:
    """The columns of the user-defined metrics among those measured, for results.json."""
    known = known_metrics(run)
    metrics = (known[name] for name in measured if ":" in name and name in known)
    return [column._asdict() for metric in metrics for column in metric().columns]


def layer_columns(names: Iterable[str]) -> list[dict[str, Any]]:
    """The columns of the KL and of the active units of each layer, for results.json."""
    digits = {KL_OF_LAYER: 2, ACTIVE_OF_LAYER: 1}
    return [
        Column(name, own)._asdict()
        for name in names
        for start, own in digits.items()
        if name.startswith(start)
    ]


def learn_columns(results: Mapping[str, Any]) -> None:
    """Adds the columns that results.json says to `all_columns`."""
    RECORDED.update({entry["name"]: Column(**entry) for entry in results.get("own_columns", [])})


def evaluate_run(run: Run, done: Progress, records: Path | None = None) -> dict[str, Any]:
    """The test-set results of the best of every lane.

    records: the folder with the rows of its training; None: its own.
    """
    records = records or run.workdir
    best = shard_lanes(run.layout, done.best)
    device_terms = evaluate_state(run, best, run.data.test)
    terms = to_host(run.layout, {n: term for n, term in device_terms.items() if n not in BY_UNIT})
    away_k = away_from_prior(run, device_terms)
    terms_kn = {name: term.astype(np.float64) for name, term in terms.items()}
    step = int(done.state.step[0])
    finished = is_over(done, run.total_steps, run.patience)
    healthy = "done" if finished else STOPPED if is_stopped(records) else RUNNING
    more = measure_metrics(run, done.best)
    of_bound = [
        Column(name)._asdict() for name in run.spec.objective.bound.terms if name not in TERMS
    ]
    of_layers = layer_columns([*terms_kn, *more.lanes[0]])
    columns = own_columns(run, more.settings) + of_bound + of_layers
    learn_columns({"own_columns": columns})
    validation = {
        (row["lane"], row["step"]): row["bound"]
        for row in read_rows(records)
        if row["split"] == "validation"
    }
    lanes = [
        {
            **training_of(run, done, i, healthy, validation),
            **bounds_of(run, done, i, {name: term[i] for name, term in terms_kn.items()}),
            "aggregate_posterior_kl": away_k[i],
            "far_from_prior": is_far(away_k[i], lane.config.model.latent_size),
            **more.lanes[i],
        }
        for i, lane in enumerate(run.lanes)
    ]
    return {
        "finished": finished,
        "step": step,
        "lanes": lanes,
        "pseudo_likelihood": run.pseudo,
        "kept": run.config.training.keep,
        "bound": bound_named(run),
        "objective_is_bound": all(
            is_the_bound(lane_objective(run, i), run.total_steps) for i in range(len(run.lanes))
        ),
        "corruption": run.config.values["objective.corruption"],
        "measured": more.settings,
        "own_columns": columns,
        "not_measured": more.failed,
        "evaluation": {k: v for k, v in run.config.values.items() if k.startswith("evaluation.")},
        "dataset": run.data.identity,
        "wall_seconds": round(float(done.wall_seconds), 3),
    }


def training_of(
    run: Run,
    done: Progress,
    i: int,
    healthy: str,
    validation: Mapping[tuple[int, int], float | None],
) -> dict[str, Any]:
    """What results.json says of the training of lane `i` of the run.

    Args:
      healthy: the status of a lane that has not diverged.
      validation: {(lane, step): its bound on the validation set}.
    """
    lane, step, best_step = run.lanes[i], int(done.state.step[0]), int(done.best.step[i])
    return {
        "lane": lane.number,
        "seed": lane.seed,
        **lane.setting,
        "status": status(done, i, healthy),
        "diverged_step": diverged_step(done, i),
        "best_step": best_step,
        "best_epoch": round(best_step / run.spec.steps_per_epoch, 6),
        "epochs": round(step / run.spec.steps_per_epoch, 6),
        "warming_up": is_warming_up(lane_objective(run, i), step),
        "validation_bound": validation.get((lane.number, best_step)),
        "validation_objective": or_none(done.best_bound[i]),
    }


def bounds_of(run: Run, done: Progress, i: int, terms: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What results.json says of the bound of lane `i` of the run.

    terms: of the lane's best params, [n] over the test set.
    """
    compared = run.spec.objective.bound.compared
    return {
        "bound": or_none(terms["bound"].mean()),
        **dict.fromkeys(TERMS),
        **{
            name: or_none(term.mean())
            for name, term in terms.items()
            if name in run.spec.objective.bound.terms or name.startswith(KL_OF_LAYER)
        },
        **({"elbo_se": or_none(standard_error(terms["elbo"]))} if "elbo" in terms else {}),
        "bound_of": bound_of(run.spec.model.likelihood.support, pseudo=run.pseudo),
        "bound_name": bound_named(run),
        "accuracy": accuracy(run, done.best, i),
        "bits_per_dim": None if compared else bits_per_dim(run, terms["bound"]),
        "uniform_bits": uniform_bits(run),
    }


def away_from_prior(run: Run, terms: Terms) -> list[float | None]:
    """At least KL(q(z) || p(z)) of each lane, nats; None for other priors than the standard normal.

    q(z): the aggregate posterior of the test set.
    """
    if MEAN_BY_UNIT not in terms or run.spec.model.abilities.prior_type is not StandardNormal:
        return [None] * len(run.lanes)
    device_moments = jax.jit(jax.vmap(moments))(terms[MEAN_BY_UNIT], terms[LOG_SCALE_BY_UNIT])
    moments_k = to_host(run.layout, device_moments)
    sizes = [lane.config.model.latent_size for lane in run.lanes]
    n = len(run.data.test.images)
    return [
        or_none(moment_matched_kl(without_padding(jax.tree.map(itemgetter(k), moments_k), size), n))
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
    """Such as "iwae(k=50)", or what is compared where there is no bound; "": it is the ELBO."""
    if compared := run.spec.objective.bound.compared:
        return str(compared)
    name = run.config.values["objective.name"]
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
    def classify(x: Float[Array, "b d"]) -> Int[Array, "b"]:
        logits = model.trace(variables, posterior_means, scale(x)).y
        assert logits is not None
        return jnp.argmax(logits, axis=-1)

    size = run.config.evaluation.batch_size
    classes = [classify(images[i : i + size]) for i in range(0, len(images), size)]
    return float(np.mean(np.concatenate(classes) == labels))
