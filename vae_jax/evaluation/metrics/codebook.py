"""The metric of a codebook: which of its entries the codes use."""

from collections.abc import Iterator
from typing import Any, ClassVar

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


def shares(index_nt: Int[np.ndarray, "n t"], stages: int, entries: int) -> np.ndarray:
    """How often each entry is taken, of 1, by stage [s, c]."""
    by_stage = index_nt.reshape(-1, stages).T
    counts = np.stack([np.bincount(own, minlength=entries) for own in by_stage])
    return counts / by_stage.shape[1]


def perplexity(share_sc: np.ndarray) -> float:
    """exp of the entropy of the shares, a mean over the stages: all alike, the entries."""
    logs = np.log(np.where(share_sc > 0, share_sc, 1.0))
    return float(np.mean(np.exp(-np.sum(share_sc * logs, axis=1))))


def codebook_summary(arrays: Arrays, subject: Subject) -> Numbers:
    """The perplexity of the codes of the test set, and the share of the entries that they use."""
    values = subject.lane.abilities.values
    assert values is not None  # code_needs refuses other models
    share_sc = shares(arrays[INDEX], *values)
    return {"code_perplexity": perplexity(share_sc), "entries_used": float((share_sc > 0).mean())}


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
