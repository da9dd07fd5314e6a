"""The figures of a run. To add one, write its section and list it below; interface.py says what it
has."""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from vae_jax.data.binarization import scaled
from vae_jax.evaluation.importance_sampling import curve_samples
from vae_jax.evaluation.latents import ACTIVE, activity
from vae_jax.evaluation.metrics import METRICS
from vae_jax.evaluation.metrics.metric import some_rows
from vae_jax.evaluation.metrics.samples import MADE
from vae_jax.evaluation.metrics.samples import Samples as SamplesMetric
from vae_jax.evaluation.samplers import PRIOR, SAMPLERS
from vae_jax.figures import images, latent_space, measurements, training_curves
from vae_jax.objectives.objective import KL_OF_LAYER
from vae_jax.sections.declare import section
from vae_jax.views.discrete import DISCRETE_FIGURES
from vae_jax.views.interface import (
    MEASURED,
    RECORDS,
    Drawing,
    FigureSection,
    NothingToDraw,
    View,
    drawing,
)
from vae_jax.views.lane import TEMPERATURES, TRAVERSAL

HARDEST, PER_ROW = 50, 10


def needs_of_z(name: str, config: Any, data: Any) -> Iterator[str]:
    """What is wrong with a figure that moves z, or shows it as points."""
    if config.model.has_discrete_z(data):
        yield (
            f"log.figures = {name!r} moves z along lines, and z of {config.model.named()} is "
            "discrete; leave it out"
        )


def needs_of_metric(name: str, metric: str, config: Any) -> Iterator[str]:
    """What is wrong with a figure of a metric that is not measured."""
    if not any(type(part) is METRICS[metric] for part in config.evaluation.metrics):
        yield (
            f"log.figures = {name!r} shows the metric {metric!r}; add it to evaluation.metrics, or "
            "leave the figure out"
        )


def needs_of_layers(name: str, config: Any) -> Iterator[str]:
    """What is wrong with a figure of several layers where there is one."""
    if config.model.abilities.num_layers == 1:
        yield (
            f"log.figures = {name!r} is for a model with several layers of latents, and "
            f"{config.model.named()} has one; leave it out"
        )


@section
class TrainingCurves(FigureSection):
    """The terms of training and validation against epochs, of all lanes."""

    shows: ClassVar = RECORDS

    def drawing(self, view: View) -> Drawing:
        rows = view.rows()
        if not rows:
            raise NothingToDraw("there is no row of metrics yet")
        last_step = max(row["step"] for row in rows)
        seeds = ", ".join(map(str, view.seeds))
        title = f"Training to step {last_step:,}, seeds {seeds}\n{view.about}"
        return drawing(training_curves.training_curves, rows, title=title, prefix=view.prefix)


@section
class KlByLayer(FigureSection):
    """The KL of each layer against epochs, where there are several layers."""

    shows: ClassVar = RECORDS

    def needs(self, config: Any) -> Iterator[str]:
        yield from needs_of_layers("kl_by_layer", config)

    def drawing(self, view: View) -> Drawing:
        rows = [row for row in view.rows() if row["split"] == "validation"]
        lane = sorted({row["lane"] for row in rows})[view.place] if rows else None
        rows = [row for row in rows if row["lane"] == lane]
        keys = sorted(key for row in rows[:1] for key in row if key.startswith(KL_OF_LAYER))
        if len(rows) < 2 or not keys:
            raise NothingToDraw("it takes the KL of several layers at two epochs")
        epochs = [row["epoch"] for row in rows]
        kls = {
            layer_named(i, len(keys)): [row[key] or 0.0 for row in rows]
            for i, key in enumerate(keys)
        }
        title = view.title("KL by layer")
        return drawing(training_curves.kl_by_layer, epochs, kls, title=title)


def layer_named(layer: int, num_layers: int) -> str:
    """The name of a layer, such as "layer 0 (top)"."""
    ends = {0: " (top)", num_layers - 1: " (bottom)"}
    return f"layer {layer}{ends.get(layer, '')}"


@section
class Reconstructions(FigureSection):
    """Test images, each above its reconstruction."""

    def drawing(self, view: View) -> Drawing:
        if len(view.lane.data.test.images) < 2:
            raise NothingToDraw("it takes two test images")
        pairs = view.lane.reconstructions()
        return drawing(images.reconstructions, *pairs, title=view.title("Reconstructions"))


@section
class Samples(FigureSection):
    """E[x | z] of samples z of the prior; if there are classes, a row of each."""

    def drawing(self, view: View) -> Drawing:
        lane, title = view.lane, view.title("Samples")
        return drawing(images.samples, lane.samples(), shown=lane.shown, title=title)


@section
class FirstLayers(FigureSection):
    """Test images from the first layers of latents alone, where there are several layers."""

    def needs(self, config: Any) -> Iterator[str]:
        yield from needs_of_layers("first_layers", config)

    def drawing(self, view: View) -> Drawing:
        groups = len(view.lane.groups)
        return drawing(
            images.rows,
            view.lane.first_layers(),
            ["image", *(layer_named(i, groups) for i in range(groups))],
            axis="reconstructed down to",
            label="each layer at its posterior mean, those below at their means given it",
            title=view.title("First layers"),
        )


@section
class Temperatures(FigureSection):
    """Samples of the prior at several temperatures, where there are several layers."""

    def needs(self, config: Any) -> Iterator[str]:
        yield from needs_of_layers("temperatures", config)

    def drawing(self, view: View) -> Drawing:
        return drawing(
            images.rows,
            view.lane.temperatures(),
            [f"{temperature:g}" for temperature in TEMPERATURES],
            axis="temperature",
            label="samples of the prior, of one noise in a column",
            title=view.title("Samples by temperature"),
        )


@section
class LatentSpace(FigureSection):
    """The posterior means of the test images by label; of more than two units, a projection."""

    def drawing(self, view: View) -> Drawing:
        lane = view.lane
        known = lane.data.test.labels
        labels = None if known is None else known[: len(lane.codes)]
        return drawing(
            latent_space.latent_space,
            lane.codes,
            labels,
            title=view.title("Latent space"),
            class_names=lane.data.class_names,
            limit=lane.limit if lane.codes.shape[1] == 2 else None,
        )


@section
class Manifold(FigureSection):
    """E[x | z] over a grid of two-dimensional z."""

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        yield from needs_of_z("manifold", config, data)
        if (size := config.model.num_units(data)) != 2:
            yield (
                f"log.figures = 'manifold' is a grid of z of 2 units, and this model has {size}; "
                "leave it out"
            )

    def drawing(self, view: View) -> Drawing:
        grid = view.lane.manifold()
        return drawing(images.manifold, *grid, title=view.title("Latent manifold"))


@section
class Traversals(FigureSection):
    """E[x | z] as one unit of z varies, for the ten units most in use."""

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        yield from needs_of_z("traversals", config, data)

    def drawing(self, view: View) -> Drawing:
        title = view.title("Latent traversals")
        return drawing(images.traversals, *view.lane.traversals(), TRAVERSAL, title=title)


@section
class Interpolations(FigureSection):
    """E[x | z] on the straight line between the codes of two test images."""

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        yield from needs_of_z("interpolations", config, data)

    def drawing(self, view: View) -> Drawing:
        if len(view.lane.data.test.images) < 2:
            raise NothingToDraw("it takes two test images")
        lane, title = view.lane, view.title("Interpolations")
        return drawing(images.interpolations, lane.interpolations(), shown=lane.shown, title=title)


@section
class AggregatePosterior(FigureSection):
    """Samples of q(z | x) of the test images beside as many of p(z), in two units."""

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        yield from needs_of_z("aggregate_posterior", config, data)

    def drawing(self, view: View) -> Drawing:
        units = sorted(view.lane.in_use[:2])
        both = (z_nl[:, units] for z_nl in view.lane.samples_of_z)
        title = view.title("Aggregate posterior and prior")
        return drawing(latent_space.aggregate_posterior, *both, units, title=title)


@section
class RateDistortion(FigureSection):
    """The KL and the reconstruction term of each lane, where there are several."""

    shows: ClassVar = RECORDS

    def drawing(self, view: View) -> Drawing:
        title = f"Rate and distortion, one point for each lane\n{view.about}"
        groups = {f"seed {lane['seed']}": [lane] for lane in view.results()}
        return rate_distortion(groups, title=title, prefix=view.prefix)


def rate_distortion(groups: dict[str, list[dict[str, Any]]], *, title: str, prefix: str) -> Drawing:
    """A point for each lane. groups: the results of the lanes, by the name of their setting."""
    points = {
        name: [
            (lane["kl"], -lane["reconstruction"])
            for lane in lanes
            if lane["kl"] is not None and lane["reconstruction"] is not None
        ]
        for name, lanes in groups.items()
    }
    points = {name: pairs for name, pairs in points.items() if pairs}
    if sum(map(len, points.values())) < 2:
        raise NothingToDraw("it has a point for each lane, and there are not two of them")
    return drawing(measurements.rate_distortion, points, title=title, prefix=prefix)


@section
class Likelihood(FigureSection):
    """-log p(x) against the number of importance samples, and of each test image (metric nll)."""

    shows: ClassVar = MEASURED

    def needs(self, config: Any) -> Iterator[str]:
        yield from needs_of_metric("likelihood", "nll", config)

    def drawing(self, view: View) -> Drawing:
        kept = view.measured("nll")
        return drawing(
            measurements.likelihood,
            curve_samples(view.num_importance_samples),
            -kept["curve"].mean(axis=1, dtype=np.float64),
            list(view.seeds),
            nll_of(view),
            title=view.title("Likelihood"),
            prefix=view.prefix,
        )


@section
class Hardest(FigureSection):
    """The test images of the lowest log p(x) (metric nll)."""

    shows: ClassVar = MEASURED

    def needs(self, config: Any) -> Iterator[str]:
        yield from needs_of_metric("hardest", "nll", config)

    def drawing(self, view: View) -> Drawing:
        nll_n, data = nll_of(view), view.lane.data
        count = min(HARDEST, len(nll_n)) // PER_ROW * PER_ROW or 1
        worst = np.argsort(-nll_n, kind="stable")[:count]
        rows = some_rows(data.test, len(nll_n))[worst]
        grid = view.lane.images(scaled(data.test.images[rows]), -(-count // PER_ROW))
        title = view.title("The hardest test images")
        return drawing(images.hardest, grid, nll_n[worst], title=title)


def nll_of(view: View) -> np.ndarray:
    """-log p(x) of the lane's test images [n], nats."""
    return -view.measured("nll")["log_likelihood"][view.place].astype(np.float64)


@section
class Samplers(FigureSection):
    """Samples of the prior, and of what is fitted to the codes (metric samples)."""

    shows: ClassVar = MEASURED

    def needs(self, config: Any) -> Iterator[str]:
        yield from needs_of_metric("samplers", "samples", config)
        if len(samplers_of(config)) == 1:
            yield (
                "log.figures = 'samplers' compares several of evaluation.samplers; add one, or "
                "leave it out"
            )

    def drawing(self, view: View) -> Drawing:
        measured = view.measured_of_lane("samples")
        of = {name.removeprefix(MADE).removeprefix("_") or PRIOR: x for name, x in measured.items()}
        names = [name for name in (PRIOR, *SAMPLERS) if name in of]
        x = np.stack([scaled(of[name][:PER_ROW]) for name in names])
        return drawing(
            images.rows,
            view.lane.images(x, len(x)),
            names,
            axis="z of",
            label="samples of p(x | z)",
            title=view.title("Samples by the distribution of z"),
        )


def samplers_of(config: Any) -> tuple[str, ...]:
    """The samplers of the metric `samples`, if it is measured."""
    parts = (part for part in config.evaluation.metrics if isinstance(part, SamplesMetric))
    return next((part.samplers for part in parts), ())


@section
class LatentUnits(FigureSection):
    """The variance of the posterior mean and the KL of each latent unit (metric latents)."""

    shows: ClassVar = MEASURED

    def needs(self, config: Any) -> Iterator[str]:
        yield from needs_of_metric("latent_units", "latents", config)

    def drawing(self, view: View) -> Drawing:
        kept = view.measured_of_lane("latents")
        kl_l = kept["kl"].mean(axis=0, dtype=np.float64) if "kl" in kept else None
        return drawing(
            measurements.latent_units,
            activity(kept["mean"], view.lane.spec.abilities.unit_size),
            kl_l,
            active=ACTIVE,
            title=view.title("Latent units"),
        )


# In the order in which they are drawn.
FIGURES: dict[str, type[FigureSection]] = {
    "training_curves": TrainingCurves,
    "kl_by_layer": KlByLayer,
    "reconstructions": Reconstructions,
    "samples": Samples,
    "first_layers": FirstLayers,
    "temperatures": Temperatures,
    "latent_space": LatentSpace,
    "manifold": Manifold,
    "traversals": Traversals,
    "interpolations": Interpolations,
    "aggregate_posterior": AggregatePosterior,
    "rate_distortion": RateDistortion,
    "likelihood": Likelihood,
    "hardest": Hardest,
    "samplers": Samplers,
    "latent_units": LatentUnits,
    **DISCRETE_FIGURES,
}
