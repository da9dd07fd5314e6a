"""The metric of a codebook: which of its entries the codes use."""

from collections.abc import Iterator
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from vae_jax.evaluation.metrics.interface import MetricSection
from vae_jax.evaluation.metrics.metric import (
    Arrays,
    Column,
    Metric,
    Numbers,
    Subject,
    lane_by_lane,
)
from vae_jax.models.model import Model, Variables, posterior_means
from vae_jax.probability.codebooks import perplexity, use_of
from vae_jax.sections.declare import section

INDEX = "index"


def index_measure(
    settings: Any,
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "1 d"],
    label_b: Any,
) -> dict[str, Array]:
    """The entries that code an image [1, t]."""
    (layer,) = model.trace(variables, posterior_means, x_bd, label_b).layers
    return {INDEX: layer.q.index_bt}


def shares(index_nt: Int[np.ndarray, "n t"], values: tuple[int, int]) -> Float[Array, "s c"]:
    """How often each entry is taken, of 1, by stage."""
    return use_of(jnp.asarray(index_nt), *values)


def codebook_summary(arrays: Arrays, subject: Subject) -> Numbers:
    """The perplexity of the codes of the test set, and the share of the entries that they use."""
    values = subject.lane.abilities.values
    assert values is not None  # code_needs refuses other models
    share_sc = shares(arrays[INDEX], values)
    used = float((share_sc > 0).mean())
    return {"code_perplexity": float(perplexity(share_sc)), "entries_used": used}


@section
class CodebookMetric(MetricSection):
    """The perplexity of the codes of the test set, and the share of the entries that they use."""

    columns: ClassVar = (Column("code_perplexity", 1), Column("entries_used", 3))

    def metric(self, subject: Subject) -> Metric:
        return Metric(
            measure=index_measure,
            summary=lane_by_lane(codebook_summary),
            cost="an encoding",
        )

    def needs(self, config: Any) -> Iterator[str]:
        yield from code_needs("evaluation.metrics = 'codebook'", config)


def code_needs(what: str, config: Any) -> Iterator[str]:
    """What is wrong with what is of a codebook."""
    if not config.model.abilities.is_code:
        yield (
            f"{what} is of the entries of a codebook, and {config.model.named()} has none; leave "
            "it out"
        )
