"""Models. To add one, write its section, in a file of its own, and list it here.

interface.py says what it has.
"""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from vae_jax.data.covariates import levels_of
from vae_jax.data.units import DARK
from vae_jax.models.hierarchy import Hierarchy, Ladder
from vae_jax.models.inputs import INPUTS
from vae_jax.models.interface import ModelSection
from vae_jax.models.m2 import M2
from vae_jax.models.model import Abilities, Model, layer_sizes
from vae_jax.models.support import DISCRETE, of_model, pair_of, said_problems, sampled_problems
from vae_jax.models.top_down import TopDown
from vae_jax.models.two_layers import TwoLayers
from vae_jax.models.vae import VAE
from vae_jax.networks import DECODERS, ENCODERS
from vae_jax.networks.interface import DecoderNetwork, EncoderNetwork
from vae_jax.networks.precision import AS_DEVICE, InPrecision
from vae_jax.probability.interface import Likelihood
from vae_jax.probability.likelihoods import LIKELIHOODS
from vae_jax.sections.checks import WIDEST, flag, no_effect, whole
from vae_jax.sections.declare import (
    Facts,
    changed,
    choice,
    choices_of,
    fact,
    family,
    host,
    name_among,
    replace,
    resolve,
    section,
    static,
)

LEARNS = "model.likelihood_size_factor = 'learned'"

MODELS: dict[str, type[ModelSection]] = {
    "hierarchy": Hierarchy,
    "ladder": Ladder,
    "m2": M2,
    "top_down": TopDown,
    "two_layers": TwoLayers,
    "vae": VAE,
}


@section
class ModelSpec:
    """The config's section `model`."""

    kind: ModelSection = family(MODELS, "vae", "the model", key="name", interface=ModelSection)
    latent_size: int = static(20, whole(1, WIDEST), "dimensions of z")
    encoder: EncoderNetwork = family(
        ENCODERS,
        "mlp",
        "the network from x to the parameters of q(z | x)",
        key="encoder.name",
        interface=EncoderNetwork,
    )
    decoder: DecoderNetwork = family(
        DECODERS,
        "mlp",
        "the network from z to the parameters of p(x | z)",
        key="decoder.name",
        interface=DecoderNetwork,
    )
    inputs: str = choice(
        INPUTS,
        "raw",
        "how the encoder sees x; auto: by what the images are",
        "encoder.inputs",
        "auto",
    )
    output_bias_from_data: bool = host(
        False,
        flag,
        "start it at the training set's pixel means; always so of real numbers and levels",
        key="decoder.output_bias_from_data",
    )
    likelihood: Likelihood = family(
        LIKELIHOODS,
        "bernoulli",
        "p(x | z); auto: by what the images are",
        by_data="auto",
        interface=Likelihood,
    )
    image_shape: Any = fact(lambda facts: facts.image_shape)
    num_classes: Any = fact(lambda facts: facts.num_classes)
    given_sizes: Any = fact(lambda facts: facts.given_sizes)  # their product is num_classes
    latent_mask: Any = fact(is_static=False)  # [l], 1 for a unit in use, 0 for padding; None: all
    precision: Any = fact()  # of the networks; None: that of the device

    @property
    def abilities(self) -> Abilities:
        able = self.kind.abilities
        # A network of the user's own need not say it.
        networks = (getattr(own, "can_be_masked", True) for own in (self.encoder, self.decoder))
        return able._replace(can_be_masked=able.can_be_masked and all(networks))

    @property
    def has_scale(self) -> bool:
        """Whether x has a scale of its own, as real numbers and levels have."""
        return self.likelihood.support in ("real", "levels")

    def named(self) -> str:
        """The chosen model, prior and posterior, in the syntax of the config."""
        chosen = {"model.name": self.name} | choices_of(self.kind, "model")
        return ", ".join(f"{key} = {name!r}" for key, name in chosen.items())

    @property
    def likelihood_name(self) -> str:
        return name_among(LIKELIHOODS, self.likelihood)

    def has_discrete_z(self, data: Any) -> bool:
        """Whether z is discrete. A model of one's own that does not say so is sampled."""
        facts = facts_of_data(data)
        return of_model(self.kind, lambda: make_model(resolve(self, facts))) == DISCRETE

    def is_autoregressive(self, image_shape: tuple[int, int, int]) -> bool:
        """Whether the values of p(x | z) depend on those before them."""
        p = self.likelihood.params_per_dim
        decoder = self.decoder.decoder(image_shape, p, self.latent_size)
        return getattr(decoder, "given", None) is not None  # a user's own pair has none

    def num_units(self, data: Any) -> int:
        """The dimensions of z of all layers; only shapes are evaluated."""
        if pair_of(self.kind):
            return self.latent_size
        model = make_model(resolve(self, facts_of_data(data)))
        label = np.zeros(1, np.int32) if self.abilities.reads_labels else None
        variables = jax.eval_shape(lambda: model.init(jax.random.key(0)))
        return sum(layer_sizes(model, variables, label))

    def needs(self, config: Any) -> Iterator[str]:
        yield from said_problems(self)
        if self.likelihood.learns_size:
            yield from self.size_problems()

    def size_problems(self) -> Iterator[str]:
        """What is wrong for a likelihood whose size is the first unit of z."""
        head = f"{LEARNS} has the log of the total in the first unit of z"
        if not isinstance(self.kind, VAE):
            yield f"{head}; model.name = {self.name!r} should be 'vae'"
        if self.latent_size < 2:
            yield f"{head}, and the shares in the others; model.latent_size should be at least 2"
        if not getattr(self.decoder, "can_be_masked", True):
            yield (
                f"{head}, which the decoder is not given, and this one takes all; "
                "model.decoder.name should be 'mlp' or another"
            )

    def idle(self, config: Any) -> Iterator[tuple[str, str]]:
        if not self.kind.reads_networks:
            for key, value in changed(self, "model", ("latent_size", "encoder", "decoder")):
                yield no_effect(key, value, "model.name", repr(self.name))

    def needs_of_data(self, config: Any, data: Any) -> Iterator[str]:
        yield from sampled_problems(self)
        if self.likelihood.learns_size and self.has_discrete_z(data):
            yield (
                f"{LEARNS} has the log of the total in the first unit of z, and z is discrete; "
                "take 'total', or a posterior and a prior of real numbers"
            )
        head, support = f"model.likelihood = {self.likelihood_name!r}", self.likelihood.support
        images = data.train.images
        low, high = images.min(), images.max()
        if support in ("binary", "unit") and not data.in_unit:
            yield (
                f"{head} is for data in 0 to 1, and these are {low:.3g} to {high:.3g}; give grey "
                "levels as uint8, divide them by their greatest value, or take a likelihood of "
                "real numbers, such as 'gaussian_shared_scale'"
            )
        if support in ("levels", "counts") and images.dtype.kind == "f":
            yield (
                f"{head} is for whole numbers; these data are floats, {low:.3g} to {high:.3g}: "
                "give them as uint8, or counts of any size as int32, in vectors"
            )
        if support != "counts" and data.is_counts:
            yield (
                f"{head} is for other data than counts, and these are counts, {low} to {high:,}; "
                "take 'negative_binomial' or 'poisson', or give floats, such as log(1 + x)"
            )
        if config.model.inputs == "log1p" and not data.is_counts:
            yield (
                "model.encoder.inputs = 'log1p' is for counts, and these data are none; it should "
                "be 'raw' or 'standardized'"
            )
        if support != "counts" and images.dtype == np.uint8 and 1 < high < DARK:
            yield (
                f"the images are uint8, {low} to {high}, of shape {data.image_shape}; 255 is "
                "white, so all are nearly black; give floats with 1 for white, or scale white to "
                "255; for counts, take model.likelihood = 'poisson'"
            )
        binarization = config.dataset.binarization
        if support in ("unit", "levels", "counts") and binarization != "none":
            yield (
                f"{head} is for grey values; dataset.binarization = {binarization!r} should be "
                "'none'"
            )
        if self.abilities.reads_labels:
            yield from self.label_problems(data)

    def label_problems(self, data: Any) -> Iterator[str]:
        """What is wrong with the labels or covariates, for a model that reads them."""
        reader = self.named()
        if data.covariates:
            if self.abilities.infers_labels:
                yield f"{reader} infers labels, and the data have covariates; leave them out"
            yield from self.covariate_problems(data)
            return
        train, test = data.train.labels, data.test.labels
        if train is None or test is None:
            yield f"{reader} needs labels, and the data have none"
            return
        least = -1 if self.abilities.infers_labels else 0  # -1: a label that is not known
        others = [labels for labels in (data.validation.labels, test) if labels is not None]
        if train.min() < least or any(np.any(labels < 0) for labels in others):
            yield f"{reader} needs labels from 0 upwards, and the data have others"
        known = np.unique(train[train >= 0])
        every = np.unique(np.concatenate([train, *others]))
        absent = np.setdiff1d(every[every >= 0], known)
        if len(absent):
            name = data.class_names[absent[0]] if data.class_names else absent[0]
            yield (
                f"{reader} needs images of every class in the training set; those of class {name} "
                "are in the validation set (the last training images) or the test set alone"
            )
        elif len(known) != data.num_classes:
            yield (
                f"{reader} needs labels of every class; {len(known)} of {data.num_classes} classes "
                "have images"
            )

    def covariate_problems(self, data: Any) -> Iterator[str]:
        """Levels of covariates that no training example has."""
        splits = (data.train, data.validation, data.test)
        train, *others = (levels_of(split.conditions, data.covariates) for split in splits)
        for i, (name, levels) in enumerate(data.covariates):
            own = np.concatenate([of_split[i] for of_split in others])
            absent = np.setdiff1d(own, train[i])
            if len(absent):
                yield (
                    f"{self.named()} needs every level of {name} in the training set; those of "
                    f"{levels[absent[0]]} are in the validation set (the last training images) or "
                    "the test set alone"
                )

    @property
    def name(self) -> str:
        return name_among(MODELS, self.kind)


def facts_of_data(data: Any) -> Facts:
    """What a model needs to know of the data; of no run."""
    n = len(data.train.images)
    of_run = {"steps_per_epoch": 1, "total_steps": 1, "counts": data.is_counts}
    return Facts(data.image_shape, data.num_given, n, given_sizes=data.given_sizes, **of_run)


def make_model(spec: ModelSpec) -> Model:
    """The model that `spec` describes."""
    if spec.precision in (None, AS_DEVICE):
        return spec.kind.model(spec)
    encoder, decoder = (InPrecision(own, spec.precision) for own in (spec.encoder, spec.decoder))
    return spec.kind.model(replace(spec, encoder=encoder, decoder=decoder))
