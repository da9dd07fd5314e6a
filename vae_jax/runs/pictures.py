"""Which figures a run gets: the arrays of its best lane, handed to `figures/`."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from vae_jax.data.binarization import scale
from vae_jax.figures.images import manifold, reconstructions, samples, traversals
from vae_jax.figures.latent_space import latent_space
from vae_jax.figures.training_curves import training_curves
from vae_jax.runs import folder
from vae_jax.runs.checkpoint import Progress
from vae_jax.runs.plan import Run, lane_model

FIGURES = (
    "training_curves", "reconstructions", "samples", "latent_space", "manifold", "traversals",
)  # fmt: skip
MANIFOLD_SIDE = 20
TRAVERSED_UNITS = 10
TRAVERSAL = np.linspace(-3, 3, 11)


def draw_figures(run: Run, done: Progress) -> list[Path]:
    """Draws every figure of the lane with the best validation ELBO; returns their paths."""
    at = run.workdir / folder.FIGURES
    draw_training_curves(run)
    healthy = done.state.diverged_step < 0
    lane = int(np.argmax(np.where(healthy | ~healthy.any(), done.best_elbo, -np.inf)))
    draw_lane(run, done, lane, at)
    return existing_figures(run.workdir)


def existing_figures(workdir: Path) -> list[Path]:
    """The figures of a run that are there."""
    paths = [workdir / folder.FIGURES / f"{name}.png" for name in FIGURES]
    return [path for path in paths if path.exists()]


def draw_training_curves(run: Run) -> None:
    """Draws every row so far."""
    rows = folder.read_rows(run.workdir)
    seeds = ", ".join(str(lane.seed) for lane in run.lanes)
    last_step = max((row["step"] for row in rows), default=0)
    training_curves(
        run.workdir / folder.FIGURES / "training_curves.png",
        rows,
        title=f"{describe(run, 0)}, seeds {seeds}, to step {last_step}",
        prefix="pseudo-" if run.pseudo else "",
    )


def draw_lane(run: Run, done: Progress, lane: int, at: Path) -> None:
    """The figures of one lane's best, in the folder `at`."""
    model, params = lane_model(run, done.best.params, lane)
    params = jax.tree.map(jnp.asarray, params)
    values, data = run.lanes[lane].values, run.data
    latent_size = values["model.latent_size"]
    title = f"{describe(run, lane)}\nseed {run.lanes[lane].seed}, step {done.best.step[lane]}"
    # The same pictures at every evaluation.
    key = jax.random.key(values["dataset.binarization_seed"])

    def images(x, rows: int) -> np.ndarray:
        return np.asarray(x).reshape(rows, -1, *data.image_shape)

    encode = jax.jit(lambda x: model.encode(params, scale(x)))
    decode = jax.jit(lambda z: model.mean(model.decode(params, z)))

    batch = values["evaluation.batch_size"]
    blocks = [data.test.images[i : i + batch] for i in range(0, len(data.test.images), batch)]
    q_params = [encode(block) for block in blocks]
    codes = np.concatenate([np.asarray(model.posterior_mean(q)) for q in q_params])
    latent_space(at / "latent_space.png", codes, data.test.labels, title=title)

    inputs = data.test.images[: min(20, len(codes)) // 2 * 2]
    if len(inputs):
        outputs = jax.jit(lambda x: model.reconstruct(params, scale(x)))(inputs)
        reconstructions(
            at / "reconstructions.png",
            images(scale(jnp.asarray(inputs)), 2),
            images(outputs, 2),
            title=title,
        )
    generated = jax.jit(lambda key: model.generate(key, params, 100))(key)
    samples(at / "samples.png", images(generated, 10), title=title)

    if latent_size == 2:
        quantiles = np.asarray(norm.ppf(np.linspace(0.02, 0.98, MANIFOLD_SIDE)))
        z1, z2 = np.meshgrid(quantiles, quantiles[::-1])
        grid = np.stack([z1, z2], axis=-1).reshape(-1, 2)
        manifold(at / "manifold.png", images(decode(grid), MANIFOLD_SIDE), quantiles, title=title)

    kl_l = np.mean(np.asarray(model.kl_divergence(params, q_params[0])), axis=0)
    units = [int(unit) for unit in np.argsort(-kl_l)[:TRAVERSED_UNITS]]
    z = np.tile(codes[0], (len(units), len(TRAVERSAL), 1))
    for i, unit in enumerate(units):
        z[i, :, unit] = TRAVERSAL
    decoded = decode(z.reshape(-1, latent_size))
    traversals(at / "traversals.png", images(decoded, len(units)), units, TRAVERSAL, title=title)


def describe(run: Run, lane: int) -> str:
    """A lane's config in a few words, for titles."""
    values, data = run.lanes[lane].values, run.data

    def network(side: str) -> str:
        widths = "-".join(map(str, values[f"model.{side}.widths"]))
        return f"{values[f'model.{side}.name']} {widths}".strip()

    pieces = [
        f"{data.identity['name']} (binarisation {data.identity['binarization']})",
        f"{network('encoder')} / {values['model.latent_size']} / {network('decoder')}",
        f"beta {values['objective.beta']:g}",
        f"batch {values['training.batch_size']}",
    ]
    return ", ".join(pieces)
