"""Metrics of the codes that the encoder gives."""

from collections.abc import Iterator
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vae_jax.data.binarization import sampled_once
from vae_jax.data.dataset import Dataset, Split
from vae_jax.evaluation.aggregate_posterior import surgery
from vae_jax.evaluation.disentanglement import (
    factor_vae_score,
    modularity,
    mutual_information_gap,
    sap,
)
from vae_jax.evaluation.latents import (
    active_by_layer,
    active_units,
    activity,
    collapsed_units,
    latents,
)
from vae_jax.evaluation.metrics.interface import MetricSection
from vae_jax.evaluation.metrics.metric import (
    ACTIVE_OF_LAYER,
    Arrays,
    Column,
    Metric,
    Numbers,
    Subject,
    lane_by_lane,
    of_lane,
    package_needs,
)
from vae_jax.evaluation.probes import (
    NEIGHBOURS,
    beta_vae_score,
    dci,
    explicitness,
    linear_accuracy,
    neighbour_accuracy,
)
from vae_jax.evaluation.ranking import udr
from vae_jax.models import make_model
from vae_jax.models.model import (
    Model,
    Variables,
    layer_sizes,
    names_of_layers,
    posterior_means,
    posterior_sample,
)
from vae_jax.objectives.elbo import MOST_UNITS
from vae_jax.probability.distributions import DiagonalGaussian, StandardNormal
from vae_jax.probability.gaussian import Gaussian
from vae_jax.sections.declare import section

SURGERY_SAMPLES = 2_000  # samples of z, each compared with all examples
PROBED = 10_000  # the most training images that a probe is fitted to


def latents_measure(
    settings: Any,
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "1 d"],
    label_b: Any,
) -> dict[str, Array]:
    """The posterior mean and, where it is known, the KL of each latent unit."""
    values = latents(model, variables, x_bd, label_b, key)._asdict()
    return {name: leaf for name, leaf in values.items() if leaf is not None}


def latents_summary(arrays: Arrays, subject: Subject) -> Numbers:
    """How many latent units are active, also by layer, and how many have collapsed to the prior."""
    width = subject.lane.abilities.unit_size
    numbers: Numbers = {
        "active_units": active_units(arrays["mean"], width),
        "activity": activity(arrays["mean"], width).tolist(),
    }
    if "kl" in arrays:
        if subject.lane.abilities.has_closed_form:  # else it is noisy, for an image
            numbers["collapsed_units"] = collapsed_units(arrays["kl"])
        numbers["kl_by_unit"] = arrays["kl"].mean(axis=0, dtype=np.float64).tolist()
        if subject.lane.abilities.num_layers > 1:
            model = make_model(subject.lane)
            label = np.zeros(1, np.int32) if subject.lane.abilities.reads_labels else None
            variables = jax.eval_shape(model.init, jax.random.key(0))
            sizes = layer_sizes(model, variables, label)
            counts = active_by_layer(arrays["kl"], names_of_layers(model), sizes)
            numbers |= {f"{ACTIVE_OF_LAYER}{name}": count for name, count in counts.items()}
    return numbers


@section
class LatentsMetric(MetricSection):
    """How many latent units are active, and how many have collapsed to the prior."""

    columns: ClassVar = (Column("active_units", 1), Column("collapsed_units", 1))

    def metric(self, subject: Subject) -> Metric:
        return Metric(
            measure=latents_measure,
            summary=lane_by_lane(latents_summary),
            cost="an encoding",
        )

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        yield from units_needs("evaluation.metrics = 'latents'", MOST_UNITS, config, data)


def units_needs(what: str, most: int, config: Any, data: Any) -> Iterator[str]:
    """What is wrong with what is computed of each latent unit, of very many."""
    if (units := config.model.num_units(data)) > most:
        yield (
            f"{what} is of each latent unit, and this model has {units:,} units; it is for at "
            f"most {most:,}: leave it out"
        )


def code_measure(
    settings: Any,
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "1 d"],
    label_b: Any,
) -> dict[str, Array]:
    """A sample of q(z | x); of a point, the code itself."""
    return {"code": posterior_sample(model, variables, key, x_bd, label_b)}


def binarized_once(data: Dataset, seed: int, images: np.ndarray) -> np.ndarray:
    """Training images; dynamic data are binarised once."""
    return sampled_once(jax.random.key(seed), images) if data.dynamic else images


def code_examples(subject: Subject) -> Split:
    """The training images, without labels."""
    return Split(binarized_once(subject.data, subject.seed, subject.data.train.images), None)


def in_memory_needs(what: str, data: Any, otherwise: str = "leave it out") -> Iterator[str]:
    """What is wrong with what takes all training images at once; `what`: with its verb."""
    if data.is_streamed:
        yield (
            f"{what} all training images at once, and they stay on disk (dataset.in_memory = "
            f"'no'); {otherwise}"
        )


def codes_needs(what: str, config: Any) -> Iterator[str]:
    """What is wrong with a distribution that is fitted to codes."""
    able = config.model.abilities
    if able.num_layers > 1 or able.reads_labels:
        yield (
            f"{what} is fitted to one layer of codes of a model that reads no labels, and this is "
            f"{config.model.named()}; leave it out"
        )


@section
class Codes(MetricSection):
    """Keeps a sample of q(z | x) of each training image, which samplers are fitted to."""

    columns: ClassVar = ()

    def metric(self, subject: Subject) -> Metric:
        return Metric(
            measure=code_measure,
            summary=lambda arrays, subject: [{} for _ in subject.settings],
            cost="an encoding",
            inputs=code_examples(subject),
        )

    def needs(self, config: Any) -> Iterator[str]:
        yield from codes_needs("evaluation.metrics = 'codes'", config)

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        yield from units_needs("evaluation.metrics = 'codes'", MOST_UNITS, config, data)
        yield from in_memory_needs("evaluation.metrics = 'codes' encodes", data)


def probed_rows(subject: Subject) -> np.ndarray:
    """The rows of the labelled training examples that a probe is fitted to."""
    assert subject.data.train.labels is not None  # needs_of_data refuses other data
    return np.flatnonzero(subject.data.train.labels >= 0)[:PROBED]


def probe_labels(subject: Subject) -> np.ndarray:
    """The labels of the training examples of `probed_rows`, then those of the test set."""
    train, test = subject.data.train, subject.data.test
    assert train.labels is not None
    assert test.labels is not None
    return np.concatenate([train.labels[probed_rows(subject)], test.labels])


def probe_examples(subject: Subject) -> Split:
    """The examples that `probe_labels` are of; dynamic data are binarised once."""
    images = subject.data.train.images[probed_rows(subject)]
    images = binarized_once(subject.data, subject.seed, images)
    return Split(np.concatenate([images, subject.data.test.images]), probe_labels(subject))


def mean_measure(
    settings: Any,
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "1 d"],
    label_b: Any,
) -> dict[str, Array]:
    """The mean of q(z | x)."""
    return {"mean": latents(model, variables, x_bd, label_b).mean}


def probes_summary(arrays: Arrays, subject: Subject) -> Numbers:
    """The accuracy on labels of a nearest-neighbour and a linear classifier of the codes."""
    labels = probe_labels(subject)
    fitted = len(labels) - len(subject.data.test.images)
    split = (arrays["mean"][:fitted], labels[:fitted], arrays["mean"][fitted:], labels[fitted:])
    return {
        "neighbour_accuracy": neighbour_accuracy(*split),
        "linear_accuracy": linear_accuracy(*split),
    }


@section
class Probes(MetricSection):
    """The accuracy on labels of a nearest-neighbour and a linear classifier of the codes."""

    columns: ClassVar = (Column("neighbour_accuracy", 3), Column("linear_accuracy", 3))

    def metric(self, subject: Subject) -> Metric:
        return Metric(
            measure=mean_measure,
            summary=lane_by_lane(probes_summary),
            cost="an encoding",
            inputs=probe_examples(subject),
        )

    def needs(self, config: Any) -> Iterator[str]:
        yield from package_needs("probes", "sklearn", "scikit-learn")

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        train, test = data.train.labels, data.test.labels
        if train is None or test is None or test.min() < 0:
            yield (
                f"evaluation.metrics = 'probes' needs labels, and {data.identity['name']} has none"
            )
            return
        known = train[train >= 0][:PROBED]
        if len(known) < NEIGHBOURS or len(np.unique(known)) < 2:
            yield (
                f"evaluation.metrics = 'probes' needs at least {NEIGHBOURS} labelled training "
                f"images, of two classes or more; {data.identity['name']} has {len(known)}, of "
                f"{len(np.unique(known))}"
            )


def disentanglement_summary(arrays: Arrays, subject: Subject) -> list[Numbers]:
    """Scores of the posterior means against the factors that the images were made from.

    udr needs no factors: it is how similar lanes of the same setting and other seeds are.
    """
    factors_nf = subject.data.test.factors
    assert factors_nf is not None  # needs_of_data refuses other data
    lanes: list[Numbers] = []
    by_lane = [of_lane(arrays, subject, lane) for lane in range(len(subject.settings))]
    for lane in by_lane:
        codes_nl = lane["mean"].astype(np.float64)
        forests = dci(0, codes_nl, factors_nf)
        lanes.append(
            {
                "mig": mutual_information_gap(codes_nl, factors_nf),
                "sap": sap(codes_nl, factors_nf),
                "modularity": modularity(codes_nl, factors_nf),
                "explicitness": explicitness(0, codes_nl, factors_nf),
                "dci_disentanglement": forests.disentanglement,
                "dci_completeness": forests.completeness,
                "dci_informativeness": forests.informativeness,
                "beta_vae_score": beta_vae_score(0, codes_nl, factors_nf),
                "factor_vae_score": factor_vae_score(0, codes_nl, factors_nf),
            }
        )
    if "kl" in arrays:
        settings = [repr(setting) for setting in subject.settings]
        for setting in dict.fromkeys(settings):
            alike = [i for i, other in enumerate(settings) if other == setting]
            if len(alike) > 1:
                means_knl = np.stack([by_lane[i]["mean"] for i in alike]).astype(np.float64)
                kl_kl = np.stack([by_lane[i]["kl"].mean(axis=0, dtype=np.float64) for i in alike])
                ranking = udr(means_knl, kl_kl)
                for i, score in zip(alike, ranking, strict=True):
                    lanes[i]["udr"] = score
    return lanes


SCORES = (
    "mig", "sap", "modularity", "explicitness", "dci_disentanglement", "dci_completeness",
    "dci_informativeness", "beta_vae_score", "factor_vae_score", "udr",
)  # fmt: skip


@section
class Disentanglement(MetricSection):
    """Scores of the posterior means against the factors that the images were made from."""

    columns: ClassVar = tuple(Column(name, 3) for name in SCORES)

    def metric(self, subject: Subject) -> Metric:
        return Metric(
            measure=latents_measure,
            summary=disentanglement_summary,
            cost="an encoding",
        )

    def needs(self, config: Any) -> Iterator[str]:
        yield from package_needs("disentanglement", "sklearn", "scikit-learn")

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        if data.test.factors is None:
            yield (
                "evaluation.metrics = 'disentanglement' needs the factors that the images were "
                f"made of, and {data.identity['name']} has none (dataset.name = 'sprites' has)"
            )


def surgery_measure(
    settings: Any,
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "1 d"],
    label_b: Any,
) -> dict[str, Array]:
    """The mean and log scale of the diagonal q(z | x)."""
    (layer,) = model.trace(variables, posterior_means, x_bd, label_b).layers
    return {"mean": layer.q.mean_kbl[0], "log_scale": layer.q.log_scale_kbl[0]}


def surgery_summary(arrays: Arrays, subject: Subject) -> Numbers:
    """The mean KL split into three parts, with their Monte Carlo errors."""
    q = Gaussian(jnp.asarray(arrays["mean"]), jnp.asarray(arrays["log_scale"]))
    return surgery(jax.random.key(0), q, SURGERY_SAMPLES)._asdict()


@section
class SurgeryMetric(MetricSection):
    """The mean KL split into three parts, with their Monte Carlo errors."""

    columns: ClassVar = (
        Column("mutual_information"),
        Column("total_correlation"),
        Column("dimension_wise_kl"),
    )

    def metric(self, subject: Subject) -> Metric:
        return Metric(
            measure=surgery_measure,
            summary=lane_by_lane(surgery_summary),
            cost=f"an encoding, and its density at {SURGERY_SAMPLES:,} samples",
        )

    def needs(self, config: Any) -> Iterator[str]:
        able = config.model.abilities
        pair = (able.posterior_type, able.prior_type)
        if pair != (DiagonalGaussian, StandardNormal) or able.infers_labels:
            yield (
                "evaluation.metrics = 'surgery' is written for a diagonal posterior and a "
                f"standard normal prior, of a model that does not infer labels; these are "
                f"{config.model.named()}"
            )
