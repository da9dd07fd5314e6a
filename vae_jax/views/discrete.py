"""The figures of discrete latents."""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from vae_jax.evaluation.latents import activity
from vae_jax.evaluation.metrics.codebook import (
    INDEX,
    CodebookMetric,
    code_needs,
    shares,
)
from vae_jax.figures import images, measurements
from vae_jax.probability.categorical import Categorical
from vae_jax.probability.codebooks import perplexity
from vae_jax.sections.declare import section
from vae_jax.views import points
from vae_jax.views.interface import MEASURED, Drawing, FigureSection, View, drawing

MOST = 10  # variables, and values of each


@section
class Values(FigureSection):
    """E[x | z] as one categorical variable takes each of its values, for those most in use."""

    def needs(self, config: Any) -> Iterator[str]:
        if config.model.abilities.posterior_type is not Categorical:
            yield (
                f"log.figures = 'values' is of categorical z, and this is {config.model.named()}; "
                "leave it out"
            )

    def drawing(self, view: View) -> Drawing:
        lane = view.lane
        width = lane.spec.abilities.unit_size
        units = np.argsort(-activity(lane.codes, width), kind="stable")[:MOST]
        values = min(width, MOST)
        z = points.values(lane.codes[0], units, width, values)
        label = 0 if lane.labels is None else int(lane.labels[0])
        made = lane.decoded(z.reshape(len(units) * values, -1), label)
        return drawing(
            images.rows,
            lane.images(made, len(units)),
            [f"{unit}" for unit in units],
            axis="variable",
            label=f"each of {values} values of it; the others as in the first test image",
            title=view.title("Values of the latent variables"),
        )


@section
class Codebook(FigureSection):
    """How often the codes take each entry of the book (metric codebook)."""

    shows: ClassVar = MEASURED

    def needs(self, config: Any) -> Iterator[str]:
        yield from code_needs("log.figures = 'codebook'", config)
        if not any(isinstance(part, CodebookMetric) for part in config.evaluation.metrics):
            yield (
                "log.figures = 'codebook' shows the metric 'codebook'; add it to "
                "evaluation.metrics, or leave the figure out"
            )

    def drawing(self, view: View) -> Drawing:
        index_nt = view.measured_of_lane("codebook")[INDEX]
        values = view.lane.spec.abilities.values
        assert values is not None  # needs refuses other models
        share_sc = shares(index_nt, values)
        return drawing(
            measurements.codebook,
            np.asarray(share_sc),
            float(perplexity(share_sc)),
            title=view.title("Use of the codebook"),
        )


DISCRETE_FIGURES: dict[str, type[FigureSection]] = {"values": Values, "codebook": Codebook}
