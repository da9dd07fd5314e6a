"""Chooses the figures of a run, and gives the arrays of its best lane to `figures/`."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from vae_jax.config.build import lane_spec
from vae_jax.data.binarization import scale
from vae_jax.evaluation.importance_sampling import curve_samples
from vae_jax.evaluation.latents import ACTIVE, activity
from vae_jax.evaluation.metrics.metric import of_lane
from vae_jax.figures.images import (
    hardest,
    interpolations,
    manifold,
    reconstructions,
    samples,
    traversals,
)
from vae_jax.figures.latent_space import aggregate_posterior, latent_space
from vae_jax.figures.measurements import latent_units, likelihood, rate_distortion
from vae_jax.figures.training_curves import training_curves
from vae_jax.functions import decode
from vae_jax.models.model import (
    generate,
    joined,
    latents,
    posterior_mean,
    posterior_samples,
    reconstruct,
    sample_prior,
)
from vae_jax.reports.drawing import attempted, drawn, writable
from vae_jax.runs import folder
from vae_jax.runs.checkpoint import Progress
from vae_jax.runs.measure import kept_arrays, subject_of
from vae_jax.runs.run import Run, lane_model

FIGURES = (
    "training_curves", "reconstructions", "samples", "latent_space", "manifold", "traversals",
    "interpolations", "aggregate_posterior", "rate_distortion", "likelihood", "hardest",
    "latent_units",
)  # fmt: skip
# A title names these values only if they differ from the usual ones here.
USUAL = {
    "model.name": "vae",
    "model.likelihood": "bernoulli",
    "model.prior": "standard_normal",
    "model.posterior": "diagonal",
    "objective.regularizer": "none",
}
MANIFOLD_SIDE = 21  # odd: z = 0 is in the middle
TRAVERSED_UNITS = 10
TRAVERSAL = np.linspace(-3, 3, 11)
INTERPOLATED, INTERPOLATION = 6, np.linspace(0, 1, 11, dtype=np.float32)  # pairs; steps


def draw_figures(run: Run, done: Progress, lanes: list[dict[str, Any]]) -> list[Path]:
    """Draws every figure, most for the lane with the best validation ELBO; returns their paths.

    lanes: the results of each lane.
    """
    at = run.workdir / folder.FIGURES
    if not writable(run.workdir):
        return existing_figures(run.workdir)
    attempted("training curves", draw_training_curves, run)
    healthy = done.state.diverged_step < 0
    lane = int(np.argmax(np.where(healthy | ~healthy.any(), done.best_bound, -np.inf)))
    attempted(f"lane {lane}", draw_lane, run, done, lane, at)
    attempted("what was measured", draw_measurements, run, done, lane, at)
    draw_rate_distortion(
        at / "rate_distortion.png",
        {f"seed {own['seed']}": [own] for own in lanes},
        title=f"Rate and distortion, one point for each lane\n{describe(run, 0)}",
        prefix="pseudo-" if run.pseudo else "",
    )
    return existing_figures(run.workdir)


def existing_figures(workdir: Path) -> list[Path]:
    """The paths of the run's figures that exist."""
    paths = [workdir / folder.FIGURES / f"{name}.png" for name in FIGURES]
    return [path for path in paths if path.exists()]


def draw_training_curves(run: Run) -> None:
    """Draws the training curves of all rows so far."""
    rows = folder.read_rows(run.workdir)
    seeds = ", ".join(str(lane.seed) for lane in run.lanes)
    last_step = max((row["step"] for row in rows), default=0)
    drawn(
        training_curves,
        run.workdir / folder.FIGURES / "training_curves.png",
        rows,
        title=f"Training to step {last_step:,}, seeds {seeds}\n{describe(run, 0)}",
        prefix="pseudo-" if run.pseudo else "",
    )


def draw_measurements(run: Run, done: Progress, lane: int, at: Path) -> None:
    """Draws what the evaluation measured, if anything; `lane` is the one shown in detail."""
    wanted = run.values["evaluation.metrics"]
    title = partial(title_of, run, done, lane)
    if "nll" in wanted:
        kept = kept_arrays(run, "nll")
        nll_kn = -kept["log_likelihood"].astype(np.float64)
        drawn(
            likelihood,
            at / "likelihood.png",
            curve_samples(run.values["evaluation.num_importance_samples"]),
            -kept["curve"].mean(axis=1, dtype=np.float64),
            [own.seed for own in run.lanes],
            nll_kn[lane],
            title=title("Likelihood"),
            prefix="pseudo-" if run.pseudo else "",
        )
        worst = np.argsort(-nll_kn[lane], kind="stable")[
            : min(50, len(nll_kn[lane])) // 10 * 10 or 1
        ]
        images = np.asarray(scale(jnp.asarray(run.data.test.images[worst])))
        drawn(
            hardest,
            at / "hardest.png",
            images.reshape(-(-len(worst) // 10), -1, *run.data.image_shape),
            nll_kn[lane][worst],
            title=title("The hardest test images"),
        )
    if "latents" in wanted:
        kept = of_lane(kept_arrays(run, "latents"), subject_of(run), lane)
        kl_l = kept["kl"].mean(axis=0, dtype=np.float64) if "kl" in kept else None
        drawn(
            latent_units,
            at / "latent_units.png",
            activity(kept["mean"]),
            kl_l,
            active=ACTIVE,
            title=title("Latent units"),
        )


def draw_rate_distortion(
    path: Path, groups: dict[str, list[dict[str, Any]]], *, title: str, prefix: str
) -> list[Path]:
    """Draws a point for each lane; draws nothing for a single lane. Returns the paths drawn.

    groups: the results of the lanes, by the name of their setting.
    """
    points = {
        name: [
            (own["kl"], -own["reconstruction"])
            for own in lanes
            if own["kl"] is not None and own["reconstruction"] is not None
        ]
        for name, lanes in groups.items()
    }
    points = {name: own for name, own in points.items() if own}
    if sum(map(len, points.values())) < 2:
        return []
    return drawn(rate_distortion, path, points, title=title, prefix=prefix)


def title_of(run: Run, done: Progress, lane: int, what: str) -> str:
    """What a figure is of, as "WHAT, seed 0, step 100"; in a second line the lane's config."""
    of = f"seed {run.lanes[lane].seed}, step {done.best.step[lane]:,}"
    return f"{what}, {of}\n{describe(run, lane)}"


def draw_lane(run: Run, done: Progress, lane: int, at: Path) -> None:
    """Draws the figures of one lane's best params, in the folder `at`."""
    model, variables = lane_model(run, done.best.variables, lane)
    variables = jax.tree.map(jnp.asarray, variables)
    values, data = run.lanes[lane].values, run.data
    latent_size = values["model.latent_size"]
    num_classes = data.num_classes if run.spec.model.abilities.reads_labels else 0
    labels = data.test.labels if num_classes else None
    title = partial(title_of, run, done, lane)
    # A fixed key, so that every evaluation draws the same pictures.
    key = jax.random.key(values["dataset.binarization_seed"])

    def images(x, rows: int) -> np.ndarray:
        return np.asarray(x).reshape(rows, -1, *data.image_shape)

    @jax.jit
    def encode(x, label_b):
        return posterior_mean(model, variables, scale(x), label_b)

    @jax.jit
    def sample_both(index, x, label_b):
        """One sample of each q(z | x), and equally many of the prior."""
        keys = jax.random.split(jax.random.fold_in(key, index))
        take = posterior_samples(model, keys[0], 1)
        trace = model.trace(variables, take, scale(x), label_b)
        prior = sample_prior(model, variables, keys[1], len(x), label_b)
        return joined(latents(trace))[0], joined(latents(prior))[0]

    @jax.jit
    def decode_all(z, label_b):
        return decode(model, variables, z, label_b).mean()

    def decoded(z: np.ndarray, label: int) -> np.ndarray:
        """The decoded z [n, l], all with the same label."""
        return decode_all(z, np.full(len(z), label) if num_classes else None)

    batch = values["evaluation.batch_size"]
    blocks = [slice(i, i + batch) for i in range(0, len(data.test.images), batch)]
    batches = [(data.test.images[b], None if labels is None else labels[b]) for b in blocks]
    codes = np.concatenate([encode(*batch) for batch in batches])
    both = [sample_both(i, *batch) for i, batch in enumerate(batches)]
    posterior_z, prior_z = (np.concatenate(parts) for parts in zip(*both, strict=True))
    plane = codes.shape[1] == 2
    # One scale for the codes, the samples of q(z | x) and those of the prior.
    limit = 1.05 * max(float(np.abs(z).max()) for z in (codes, posterior_z, prior_z))
    drawn(
        latent_space,
        at / "latent_space.png",
        codes,
        data.test.labels,
        title=title("Latent space"),
        class_names=data.class_names,
        limit=limit if plane else None,
    )

    count = min(20, len(codes)) // 2 * 2
    if count:
        inputs = scale(jnp.asarray(data.test.images[:count]))
        inputs = lane_spec(values, data).objective.corruption(key, inputs)
        shown_labels = None if labels is None else jnp.asarray(labels[:count])
        outputs = jax.jit(partial(reconstruct, model))(variables, inputs, shown_labels)
        drawn(
            reconstructions,
            at / "reconstructions.png",
            images(inputs, 2),
            images(outputs, 2),
            title=title("Reconstructions"),
        )
    # If there are classes, a row of ten for each.
    rows = np.repeat(np.arange(num_classes), 10)[:100] if num_classes else None
    number = 100 if rows is None else len(rows)
    generated = jax.jit(partial(generate, model), static_argnums=2)(variables, key, number, rows)
    drawn(samples, at / "samples.png", images(generated, number // 10), title=title("Samples"))

    if plane:
        quantiles = np.asarray(norm.ppf(np.linspace(0.02, 0.98, MANIFOLD_SIDE)), np.float32)
        z1, z2 = np.meshgrid(quantiles, quantiles[::-1])
        grid = np.stack([z1, z2], axis=-1).reshape(-1, 2)
        decoded_grid = images(decoded(grid, 0), MANIFOLD_SIDE)
        drawn(
            manifold, at / "manifold.png", decoded_grid, quantiles, title=title("Latent manifold")
        )

    # The most active units: their posterior means have the largest variance over the data.
    activity_l = np.var(codes[:, :latent_size], axis=0)
    units = [int(unit) for unit in np.argsort(-activity_l)[:TRAVERSED_UNITS]]
    z = np.tile(codes[0], (len(units), len(TRAVERSAL), 1))
    for i, unit in enumerate(units):
        z[i, :, unit] = TRAVERSAL
    traversed = decoded(z.reshape(-1, codes.shape[1]), 0 if labels is None else int(labels[0]))
    drawn(
        traversals,
        at / "traversals.png",
        images(traversed, len(units)),
        units,
        TRAVERSAL,
        title=title("Latent traversals"),
    )

    shown = sorted(units[:2])
    drawn(
        aggregate_posterior,
        at / "aggregate_posterior.png",
        posterior_z[:, shown],
        prior_z[:, shown],
        shown,
        title=title("Aggregate posterior and prior"),
    )
    pairs = min(INTERPOLATED, len(codes) // 2)
    if pairs:
        start, end = codes[:pairs, None], codes[pairs : 2 * pairs, None]
        along = (1 - INTERPOLATION)[None, :, None] * start + INTERPOLATION[None, :, None] * end
        # In a conditional model, each line keeps the label of its starting image.
        label = None if labels is None else np.repeat(labels[:pairs], len(INTERPOLATION))
        between = decode_all(along.reshape(-1, codes.shape[1]), label)
        drawn(
            interpolations,
            at / "interpolations.png",
            images(between, pairs),
            title=title("Interpolations"),
        )


def describe(run: Run, lane: int) -> str:
    """A lane's config in a few words, for titles."""
    values, data = run.lanes[lane].values, run.data

    def network(side: str) -> str:
        widths = "-".join(map(str, values[f"model.{side}.widths"]))
        return f"{values[f'model.{side}.name']} {widths}".strip()

    pieces = [
        f"{Path(data.identity['name']).name} (binarisation {data.identity['binarization']})",
        f"{network('encoder')} / {values['model.latent_size']} / {network('decoder')}",
        *(values[key] for key, usual in USUAL.items() if values[key] != usual),
        f"{values['objective.name']}, beta {values['objective.beta']:g}",
        f"batch {run.spec.training.batch_size}",
    ]
    return ", ".join(pieces)
