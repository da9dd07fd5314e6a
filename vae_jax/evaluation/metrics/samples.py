"""The metric that judges generated images."""

import functools
import math
from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from vae_jax.devices.processes import is_first
from vae_jax.evaluation import features
from vae_jax.evaluation.at_once import fitting
from vae_jax.evaluation.examples import Measure
from vae_jax.evaluation.features import FeatureSpace
from vae_jax.evaluation.metrics.codes import codes_needs, in_memory_needs, units_needs
from vae_jax.evaluation.metrics.interface import MetricSection
from vae_jax.evaluation.metrics.metric import (
    Arrays,
    Column,
    Metric,
    Numbers,
    Subject,
    latents_needs,
    of_lane,
    package_needs,
)
from vae_jax.evaluation.sample_quality import NEIGHBOURS, sample_quality
from vae_jax.evaluation.samplers import DOCS, PRIOR, SAMPLERS, kept, sampler_of
from vae_jax.evaluation.samplers.lanes import Lanes, fit_lanes, sample_lane, sizes_of, stacked
from vae_jax.models.model import Model, Variables, given, sample_prior
from vae_jax.sections.checks import names_in, no_effect, text, whole
from vae_jax.sections.declare import section, static

MOST_FITTED = 1_000  # latent units: a component has the square of it
SEED = 0  # of the fits
MADE, FITTED = "made", "samplers"  # names of arrays, and of variables
SCORES = {"precision": 3, "recall": 3, "density": 3, "coverage": 3, "frechet_distance": 2, "kid": 1}
SAMPLED_AT_ONCE = 1_000  # of an autoregressive decoder, whose passes wait for the slowest image


@functools.cache
def measure_of(sizes: tuple[int, ...], is_uint8: bool) -> Measure:
    """`samples_measure` of lanes with codes of these sizes; one function for equal arguments."""
    measure = samples_uint8_measure if is_uint8 else samples_measure
    return partial(measure, sizes)


def samples_measure(
    sizes: tuple[int, ...],
    settings: Any,
    model: Model,
    variables: Variables,
    key: Key[Array, ""],
    x_bd: Float[Array, "1 d"],
    label_b: Any,
) -> dict[str, Array]:
    """One generated x for each example, by each sampler; x_bd itself is not used."""
    z_key, x_key = jax.random.split(key)
    made = {}
    if PRIOR in settings.samplers:
        trace = sample_prior(model, variables, jax.random.clone(z_key), 1, label_b)
        made[MADE] = trace.x.sample(jax.random.clone(x_key))[0]
    for name, lane in variables.get(FITTED, {}).items():
        sampler = sampler_of(name, settings)
        z_kbl = sample_lane(sampler, sizes, lane, jax.random.clone(z_key), 1)[None]
        trace = model.trace(variables, given([z_kbl]), None, label_b)
        made[f"{MADE}_{name}"] = trace.x.sample(jax.random.clone(x_key))[0]
    return made


def samples_uint8_measure(*args: Any) -> dict[str, Array]:
    """Generated x for each example, as uint8 like the stored data."""
    made = samples_measure(*args)
    return {n: jnp.clip(jnp.round(255 * x), 0, 255).astype(jnp.uint8) for n, x in made.items()}


def fitted_needs(what: str, config: Any, data: Any) -> Iterator[str]:
    """What is wrong with a distribution that is fitted to codes, of these data."""
    if config.model.has_discrete_z(data):
        yield (
            f"{what} is fitted to a real z, and that of {config.model.named()} is discrete; leave "
            "it out"
        )
    yield from units_needs(what, MOST_FITTED, config, data)
    yield from in_memory_needs(f"{what} is fitted to codes of", data)


def feature_space(given: str, subject: Subject) -> FeatureSpace:
    """The one in the file `given`; if "", one trained on this run's training set, and saved."""
    data = subject.data
    path = subject.folder / "features.npz"
    if given or path.exists():
        return features.load(given or path, data.image_shape)
    print("samples: training the feature space", flush=True)
    space = features.train_features(
        jax.random.key(subject.seed),
        data.train.images,
        data.train.labels,
        data.image_shape,
        binarize=data.dynamic,
    )
    path.parent.mkdir(exist_ok=True)
    features.save(path, space)
    return space


def samples_summary(given: str, arrays: Arrays, subject: Subject) -> list[Numbers]:
    """Compares the test set with as many generated images, in a feature space."""
    space = feature_space(given, subject)
    real_nf = features.features(space, subject.data.test.images)
    lanes: list[Numbers] = [{"feature_space": features.checksum(space)} for _ in subject.settings]
    for made, made_knd in arrays.items():
        for lane, made_nd in zip(lanes, made_knd, strict=True):
            scores = sample_quality(real_nf, features.features(space, made_nd))._asdict()
            lane |= {f"{name}{made.removeprefix(MADE)}": score for name, score in scores.items()}
    return lanes


def fit_samplers(
    section: Any, subject: Subject, others: dict[str, Arrays]
) -> dict[str, dict[str, Lanes]]:
    """The samplers of the section, fitted to the codes of each lane: leaves [lanes, ...].

    They are kept in the run folder, and read there while codes and numbers are the same.
    """
    fitted = {}
    for name in section.samplers:
        if name == PRIOR:
            continue
        sampler, codes = sampler_of(name, section), others["codes"]
        found = kept.read(subject.folder, name, codes["code"], sampler)
        if found is None:
            lanes = range(len(subject.settings))
            if is_first():
                n = codes["code"].shape[1]
                print(f"samples: fitting {name} to {n:,} codes of each lane", flush=True)
            own = [of_lane(codes, subject, lane)["code"] for lane in lanes]
            found = kept.Kept(sampler, fit_lanes(sampler, SEED, own))
            if is_first():
                kept.write(subject.folder, name, sampler, codes["code"], found.fitted)
        fitted[name] = stacked(found.fitted)
    return {FITTED: fitted} if fitted else {}


@section
class Samples(MetricSection):
    """Compares the test set with as many generated images, in a feature space."""

    features: str = static(
        "",
        text,
        'the features.npz of another run, to make scores comparable; "": trains a feature space',
        key="samples.features",
    )

    samplers: tuple[str, ...] = static(
        (PRIOR,),
        names_in({PRIOR: "p(z)", **DOCS}),
        "which z are decoded: those of the prior, or of what is fitted to the codes afterwards",
        key="samplers",
        choices={PRIOR: "p(z)", **DOCS},
    )
    components: int = static(10, whole(1), "components of the mixture", key="mixture.components")
    steps: int = static(
        5_000, whole(1), "steps of the fit of flow and two_stage", key="sampler_steps"
    )
    width: int = static(
        128, whole(1), "hidden units of the networks of flow and two_stage", key="sampler_width"
    )

    columns: ClassVar = tuple(
        Column(f"{name}{of}", digits)
        for of in ("", *(f"_{sampler}" for sampler in SAMPLERS))
        for name, digits in SCORES.items()
    )

    def metric(self, subject: Subject) -> Metric:
        is_uint8 = subject.data.test.images.dtype == np.uint8
        return Metric(
            measure=measure_of(sizes_of(subject.latent_sizes), is_uint8),
            summary=partial(samples_summary, self.features),
            cost=f"{math.prod(subject.data.image_shape):,} numbers sampled",
            at_once=self.at_once(subject),
            after=("codes",) if {*self.samplers} - {PRIOR} else (),
            more=partial(fit_samplers, self),
        )

    def at_once(self, subject: Subject) -> int:
        """Of an autoregressive decoder, as many as fit; else 0: evaluation.batch_size."""
        spec = subject.lane
        return fitting(spec, SAMPLED_AT_ONCE, 1) if spec.is_autoregressive(spec.image_shape) else 0

    def idle(self, config: Any) -> Iterator[tuple[str, str]]:
        for key, value, usual, readers in (
            ("mixture.components", self.components, 10, {"mixture"}),
            ("sampler_steps", self.steps, 5_000, {"flow", "two_stage"}),
            ("sampler_width", self.width, 128, {"flow", "two_stage"}),
        ):
            if value != usual and not readers & {*self.samplers}:
                by = "evaluation.samplers"
                yield no_effect(f"evaluation.{key}", value, by, repr(self.samplers))

    def needs(self, config: Any) -> Iterator[str]:
        yield from latents_needs("samples", config)
        if len({*self.samplers}) != len(self.samplers) or not self.samplers:
            yield (
                f"evaluation.samplers = {self.samplers} should have one name or more, each once: "
                f"{', '.join((PRIOR, *SAMPLERS))}"
            )
        if fitted := [name for name in self.samplers if name != PRIOR]:
            yield from codes_needs(f"evaluation.samplers = {fitted[0]!r}", config)
        if "mixture" in self.samplers:
            yield from package_needs("samples", "sklearn", "scikit-learn")

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        if fitted := [name for name in self.samplers if name != PRIOR]:
            yield from fitted_needs(f"evaluation.samplers = {fitted[0]!r}", config, data)
        if "mixture" in self.samplers and self.components >= (n := len(data.train.images)):
            yield (
                f"evaluation.mixture.components = {self.components} should be fewer than the "
                f"{n} training images, whose codes they are fitted to"
            )
        if not self.features:
            how = "evaluation.samples.features should be the features.npz of a run in memory"
            what = "evaluation.metrics = 'samples' trains its feature space on"
            yield from in_memory_needs(what, data, how)
        else:
            features.load(self.features, data.image_shape)  # raises if it does not fit
        if len(data.test.images) <= NEIGHBOURS:
            yield (
                f"evaluation.metrics = 'samples' compares {NEIGHBOURS} nearest neighbours, and "
                f"{data.identity['name']} has {len(data.test.images)} test images; it should have "
                "more"
            )
