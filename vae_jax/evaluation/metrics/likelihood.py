"""Metrics that estimate log p(x), or are based on it."""

from collections.abc import Iterator
from typing import Any, ClassVar

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from vae_jax.evaluation.annealed_importance_sampling import (
    Annealing,
    annealed_importance_sampling,
    bracket,
)
from vae_jax.evaluation.at_once import fitting
from vae_jax.evaluation.gaps import Search, gaps
from vae_jax.evaluation.importance_sampling import BLOCK, importance_sampling
from vae_jax.evaluation.latents import ACTIVE, activity
from vae_jax.evaluation.metrics.interface import MetricSection
from vae_jax.evaluation.metrics.metric import (
    Arrays,
    Column,
    Metric,
    Numbers,
    Subject,
    Trial,
    density_needs,
    lane_by_lane,
    latents_needs,
    likelihood_needs,
    package_needs,
    some,
    standard_error,
)
from vae_jax.models import ModelSpec
from vae_jax.models.model import Model, Variables
from vae_jax.sections.checks import whole
from vae_jax.sections.declare import host, replace, section, static

PART = 50  # of the moves of a chain, one is in a trial
DOMINATES = 0.5  # the share of the total weight above which a single sample dominates


def samples_key() -> Any:
    """The key of the number of samples."""
    return static(5_000, whole(1), "samples for each example's log p(x)")


def at_once_key() -> Any:
    """The key of how many samples are computed at once."""
    doc = "samples computed at once; does not change the result"
    return host(2_000, whole(1), doc, key="draws_at_once")


def nll_images_key() -> Any:
    """The key of the number of images of `nll` and `nll_active`, which measure the same ones."""
    return static(0, whole(0), "of the test set, the first; 0: all", key="nll.images")


def nll_images(name: str, n: int, subject: Subject) -> Numbers:
    """The number of images, where it is not the test set."""
    return {} if n == len(subject.data.test.images) else {name: n}


def nll_measure(
    settings: Any,
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "1 d"],
    label_b: Any,
) -> dict[str, Array]:
    """log p(x) by importance sampling, and how reliable it is."""
    k = settings.num_importance_samples
    return importance_sampling(model, variables, key, x_bd, k, label_b)._asdict()


def nll_summary(arrays: Arrays, subject: Subject) -> Numbers:
    """-log p(x) by importance sampling.

    Values are means over examples; nll_se is the standard error of the mean nll.
    """
    log_likelihood_n = arrays["log_likelihood"].astype(np.float64)
    return {
        "nll": -log_likelihood_n.mean(),
        "nll_se": standard_error(log_likelihood_n),
        "effective_sample_size": arrays["effective_sample_size"].mean(dtype=np.float64),
        "dominated": np.mean(arrays["largest_weight"] > DOMINATES),  # a fraction of the examples
    } | nll_images("nll_images", len(log_likelihood_n), subject)


@section
class Nll(MetricSection):
    """-log p(x) by importance sampling."""

    num_importance_samples: int = samples_key()
    samples_at_once: int = at_once_key()
    images: int = nll_images_key()

    columns: ClassVar = (Column("nll", of_likelihood=True, images="nll_images"),)

    def metric(self, subject: Subject) -> Metric:
        return Metric(
            measure=nll_measure,
            summary=lane_by_lane(nll_summary),
            cost=f"{self.num_importance_samples:,} decodings",
            at_once=fitting(subject.lane, max(1, self.samples_at_once // BLOCK), BLOCK),
            inputs=some(subject.data.test, self.images) if self.images else None,
        )

    def needs(self, config: Any) -> Iterator[str]:
        yield from latents_needs("nll", config)

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        yield from likelihood_needs("nll", config, data)


def nll_active_summary(arrays: Arrays, subject: Subject) -> Numbers:
    """-log p(x) of the model with its active latent units alone (Burda et al. 2015).

    The decoder sees 0 for inactive units, and their KL is 0.
    """
    log_likelihood_n = arrays["log_likelihood"].astype(np.float64)
    return {
        "nll_active": -log_likelihood_n.mean(),
        "nll_active_se": standard_error(log_likelihood_n),
    } | nll_images("nll_active_images", len(log_likelihood_n), subject)


def only_active(subject: Subject, kept: dict[str, Arrays]) -> ModelSpec:
    """The lanes' own models, with every inactive latent unit masked."""
    mean_knl = kept["latents"]["mean"]
    mask_kl = np.array([activity(mean_nl) > ACTIVE for mean_nl in mean_knl], np.float32)
    return replace(subject.model, latent_mask=mask_kl)


@section
class NllActive(MetricSection):
    """-log p(x) of the model with its active latent units alone (Burda et al. 2015)."""

    num_importance_samples: int = samples_key()
    samples_at_once: int = at_once_key()
    images: int = nll_images_key()

    columns: ClassVar = (Column("nll_active", of_likelihood=True, images="nll_active_images"),)

    def metric(self, subject: Subject) -> Metric:
        plain = Nll(self.num_importance_samples, self.samples_at_once, self.images).metric(subject)
        return plain._replace(
            summary=lane_by_lane(nll_active_summary),
            stream="nll",  # the same samples: the two nlls differ by the units alone
            after=("latents",),
            model=only_active,
        )

    def needs(self, config: Any) -> Iterator[str]:
        if not config.model.abilities.can_be_masked:
            yield (
                f"evaluation.metrics = 'nll_active' needs latent units that can be left out, and "
                f"those of {config.model.named()} can't; it goes with model.posterior = 'diagonal' "
                "and model.prior = 'standard_normal' or 'learned_gaussian'"
            )

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        yield from likelihood_needs("nll_active", config, data)


def ais_measure(
    settings: Any,
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "1 d"],
    label_b: Any,
) -> dict[str, Array]:
    """Both estimates of log p(x) of an image, and the bounds for a generated image."""
    keys = jax.random.split(key, 3)
    spec, k = settings.annealing, settings.num_importance_samples
    annealed = annealed_importance_sampling(model, variables, keys[0], x_bd, spec, label_b)
    around = bracket(model, variables, keys[1], spec, label_b)
    other = importance_sampling(model, variables, keys[2], x_bd, k, label_b)
    return annealed._asdict() | {
        "importance_log_likelihood": other.log_likelihood,
        "lower": around.lower,
        "upper": around.upper,
    }


def ais_summary(arrays: Arrays, subject: Subject) -> Numbers:
    """-log p(x) of some images by annealed importance sampling, and how large its error can be.

    Values are means over images. ais_gap: upper - lower bound on log p(x) of simulated images.
    importance_nll: nll by importance sampling of the same images; importance_gap: that minus the
    nll by annealing.
    """
    log_likelihood_n = arrays["log_likelihood"].astype(np.float64)
    gap_n = (arrays["upper"] - arrays["lower"]).astype(np.float64)
    importance_gap_n = log_likelihood_n - arrays["importance_log_likelihood"]
    return {
        "ais_images": len(log_likelihood_n),
        "importance_nll": -arrays["importance_log_likelihood"].mean(dtype=np.float64),
        "ais_nll": -log_likelihood_n.mean(),
        "ais_nll_se": standard_error(log_likelihood_n),
        "ais_gap": gap_n.mean(),
        "ais_gap_se": standard_error(gap_n),
        "importance_gap": importance_gap_n.mean(),
        "importance_gap_se": standard_error(importance_gap_n),
        "ais_acceptance": arrays["acceptance"].mean(dtype=np.float64),
        "ais_effective_sample_size": arrays["effective_sample_size"].mean(dtype=np.float64),
    }


@section
class Ais(MetricSection):
    """-log p(x) of some images by annealed importance sampling, and how large its error can be."""

    images: int = static(100, whole(1), "of the test set, the first", key="ais.images")
    chains: int = static(16, whole(1), "for each image", key="ais.chains")
    temperatures: int = static(1_000, whole(1), "moves of each chain", key="ais.temperatures")
    leapfrog_steps: int = static(10, whole(1), "gradients of each move", key="ais.leapfrog_steps")
    num_importance_samples: int = samples_key()
    samples_at_once: int = at_once_key()

    @property
    def annealing(self) -> Annealing:
        return Annealing(self.chains, self.temperatures, self.leapfrog_steps)

    columns: ClassVar = (
        Column("ais_nll", of_likelihood=True, images="ais_images"),
        Column("importance_nll", of_likelihood=True, images="ais_images"),
        Column("ais_gap", of_likelihood=True),
        Column("importance_gap", of_likelihood=True, images="ais_images"),
    )

    def metric(self, subject: Subject) -> Metric:
        return Metric(
            measure=ais_measure,
            summary=lane_by_lane(ais_summary),
            cost=(
                f"2 x {self.chains} chains of {self.temperatures:,} moves of "
                f"{self.leapfrog_steps} gradients"
            ),
            at_once=fitting(
                subject.lane, max(1, self.samples_at_once // self.chains), BLOCK, self.chains
            ),
            inputs=some(subject.data.test, self.images),
            trial=self.trial(),
        )

    def trial(self) -> Trial | None:
        """A measurement with few moves; None where the whole has not many more."""
        few = self.temperatures // PART
        shorter = replace(self, temperatures=few, num_importance_samples=1)
        return Trial(shorter, few / self.temperatures) if few > 1 else None

    def needs(self, config: Any) -> Iterator[str]:
        yield from latents_needs("ais", config)
        yield from package_needs("ais", "blackjax", "blackjax")

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        yield from likelihood_needs("ais", config, data)
        yield from density_needs("ais", config, data)


def gaps_measure(
    settings: Any,
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "1 d"],
    label_b: Any,
) -> dict[str, Array]:
    """The ELBO, the optimised ELBO and log p(x)."""
    return gaps(model, variables, key, x_bd, settings.search, label_b)._asdict()


def gaps_summary(arrays: Arrays, subject: Subject) -> Numbers:
    """How far the ELBO is below log p(x) due to the family of q(z | x), and due to the encoder.

    Values are means over some images, nats. Both are 0 if q(z | x) is the true posterior.
    """
    elbo_n, optimized_n, log_likelihood_n = (
        arrays[name].astype(np.float64) for name in ("elbo", "optimized_elbo", "log_likelihood")
    )
    approximation_n, amortization_n = log_likelihood_n - optimized_n, optimized_n - elbo_n
    return {
        "gaps_images": len(elbo_n),
        "approximation_gap": approximation_n.mean(),
        "approximation_gap_se": standard_error(approximation_n),
        "amortization_gap": amortization_n.mean(),
        "amortization_gap_se": standard_error(amortization_n),
    }


@section
class GapsMetric(MetricSection):
    """How far the ELBO is below log p(x) due to the family of q(z | x), and due to the encoder."""

    images: int = static(100, whole(1), "of the test set, the first", key="gaps.images")
    steps: int = static(500, whole(1), "steps of Adam, with ten samples each", key="gaps.steps")
    num_importance_samples: int = samples_key()
    samples_at_once: int = at_once_key()

    @property
    def search(self) -> Search:
        return Search(self.steps, num_importance_samples=self.num_importance_samples)

    columns: ClassVar = (
        Column("approximation_gap", of_likelihood=True, images="gaps_images"),
        Column("amortization_gap", of_likelihood=True, images="gaps_images"),
    )

    def metric(self, subject: Subject) -> Metric:
        search = self.search
        return Metric(
            measure=gaps_measure,
            summary=lane_by_lane(gaps_summary),
            cost=(
                f"{search.steps:,} steps of {search.samples} samples, and "
                f"{search.num_importance_samples:,} decodings"
            ),
            at_once=fitting(
                subject.lane, max(1, self.samples_at_once // BLOCK), BLOCK, search.samples
            ),
            inputs=some(subject.data.test, self.images),
        )

    def needs(self, config: Any) -> Iterator[str]:
        yield from latents_needs("gaps", config)
        if config.model.abilities.is_implicit:
            yield (
                "evaluation.metrics = 'gaps' needs the ELBO of q(z | x), and the density of "
                f"{config.model.named()} is not known; leave it out"
            )
        if config.model.abilities.num_layers > 1:
            yield (
                "evaluation.metrics = 'gaps' fits one layer's q(z | x) to an image, and "
                f"{config.model.named()} has more layers; leave it out"
            )

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        yield from likelihood_needs("gaps", config, data)
        yield from density_needs("gaps", config, data)
