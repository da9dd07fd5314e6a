"""What a config leaves to its data: the binarisation, the likelihood, how the encoder sees x, the
size of the validation set, and whether the training images are in memory.

A run folder's config holds what was decided.
"""

from vae_jax.config.build import Config, overridden
from vae_jax.config.declared import is_read
from vae_jax.config.needs import refuse_combination
from vae_jax.data.source import Source, kind
from vae_jax.data.stored import Stored
from vae_jax.data.units import are_whole
from vae_jax.errors import UserError
from vae_jax.sections.declare import Values

BINARIZATION, LIKELIHOOD = "dataset.binarization", "model.likelihood"
VALIDATION_SIZE, INPUTS = "dataset.validation_size", "model.encoder.inputs"
IN_MEMORY = "dataset.in_memory"
# {kind of images: the likelihood that suits them}.
BY_KIND = {
    "binary": "bernoulli",
    "levels": "discretized_logistic",
    "counts": "negative_binomial",
    "real": "gaussian_optimal_scale",
}
MOST_VALIDATION, LEAST_PARTS = 5_000, 5  # that many images, if they are at most a fifth of all


def undecided(config: Config) -> list[str]:
    """The keys whose values leave the choice to the data."""
    return [
        name
        for name, key in config.keys.items()
        if key.by_data is not None
        and config.value(name) == key.by_data
        and is_read(key, config.values)
    ]


def as_decided(config: Config, earlier: Config) -> Config:
    """The config, with what was decided for the run of the earlier config."""
    return overridden(config, {name: earlier.values[name] for name in undecided(config)})


def decided(config: Config, source: Source) -> Config:
    """Fills in the choices that the config leaves to its data.

    Raises:
      UserError: no likelihood suits these images as they are, or the choices don't go together.
    """
    left = undecided(config)
    if not left:
        return config
    values: Values = dict(config.values)
    usual, likelihoods = config.dataset.source.usual, config.keys[LIKELIHOOD].choices
    if BINARIZATION in left:
        support = getattr(likelihoods[values[LIKELIHOOD]], "support", None)
        values[BINARIZATION] = binarization(support, usual, kind(source))
    if LIKELIHOOD in left and usual:
        values[LIKELIHOOD] = usual[1]
    elif LIKELIHOOD in left:
        values[LIKELIHOOD] = likelihood(values[BINARIZATION], source)
    if IN_MEMORY in left:
        values[IN_MEMORY] = "no" if isinstance(source.train_images, Stored) else "yes"
    if INPUTS in left:
        support = likelihoods[values[LIKELIHOOD]].support
        own = "log1p" if kind(source) == "counts" else "raw"
        values[INPUTS] = "standardized" if support in ("real", "levels") else own
    if VALIDATION_SIZE in left:
        n = len(source.train_images)
        usual_size = MOST_VALIDATION if n >= LEAST_PARTS * MOST_VALIDATION else max(1, n // 10)
        values[VALIDATION_SIZE] = source.validation_size or usual_size
    config = overridden(config, values)
    refuse_combination(config)
    return config


def binarization(support: str | None, usual: tuple[str, str] | None, kind: str) -> str:
    """Binary images and likelihoods of other values need none.

    `support`: of the likelihood; None: it is left to the data too.
    """
    binary = support == "binary"
    if usual and (binary or support is None):
        return usual[0]
    return "dynamic" if binary and kind != "binary" else "none"


def likelihood(binarization: str, source: Source) -> str:
    """The likelihood that suits the images.

    Raises:
      UserError: they look like grey levels that were made floats.
    """
    if binarization != "none":
        return BY_KIND["binary"]
    images = source.train_images
    if kind(source) == "real" and images.max() > 1 and are_whole(images):
        low, high = images.min(), images.max()
        raise UserError(
            f"{source.name}: the images are {images.dtype} of whole numbers, {low:g} to {high:g}; "
            "grey levels should be uint8, 0 to 255 (images.astype(numpy.uint8)), or floats from 0 "
            "to 1 (images / 255); counts, in vectors, integers (x.astype(numpy.int32))"
        )
    return BY_KIND[kind(source)]
