"""The metric that judges generated images."""

import math
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vae_jax.checks import text
from vae_jax.evaluation import features
from vae_jax.evaluation.features import FeatureSpace
from vae_jax.evaluation.metrics.metric import (
    Arrays,
    Column,
    Metric,
    Numbers,
    Subject,
    latents_needs,
)
from vae_jax.evaluation.sample_quality import NEIGHBOURS, sample_quality
from vae_jax.keys import section, static
from vae_jax.models.model import sample_prior


def samples_measure(settings, model, variables, key, x_bd, label_b):
    """One generated x for each example; x_bd itself is not used."""
    z_key, x_key = jax.random.split(key)
    return {"made": sample_prior(model, variables, z_key, 1, label_b).x.sample(x_key)[0]}


def samples_uint8_measure(settings, model, variables, key, x_bd, label_b):
    """One generated x for each example, as uint8 like the stored data."""
    made_bd = samples_measure(settings, model, variables, key, x_bd, label_b)["made"]
    return {"made": jnp.clip(jnp.round(255 * made_bd), 0, 255).astype(jnp.uint8)}


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
    real_nf, name = features.features(space, subject.data.test.images), features.checksum(space)
    return [
        sample_quality(real_nf, features.features(space, made_nd))._asdict()
        | {"feature_space": name}
        for made_nd in arrays["made"]
    ]


@section
class Samples:
    """Compares the test set with as many generated images, in a feature space."""

    features: str = static(
        "",
        text,
        'the features.npz of another run, to make scores comparable; "": trains a feature space',
        key="samples.features",
    )

    columns: ClassVar = (
        Column("precision", 3),
        Column("recall", 3),
        Column("density", 3),
        Column("coverage", 3),
        Column("frechet_distance"),
    )

    def metric(self, subject: Subject) -> Metric:
        is_uint8 = subject.data.test.images.dtype == np.uint8
        return Metric(
            measure=samples_uint8_measure if is_uint8 else samples_measure,
            summary=partial(samples_summary, self.features),
            cost=f"{math.prod(subject.data.image_shape):,} numbers sampled",
        )

    def needs(self, config):
        yield from latents_needs("samples", config)

    def needs_of_data(self, config, data):
        if self.features:
            features.load(self.features, data.image_shape)  # raises if it does not fit
        if len(data.test.images) <= NEIGHBOURS:
            yield (
                f"evaluation.metrics = 'samples' compares {NEIGHBOURS} nearest neighbours, and "
                f"{data.identity['name']} has {len(data.test.images)} test images; it should have "
                "more"
            )
